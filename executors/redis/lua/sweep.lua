-- Go on with unswept work, of one run or of all; a chunk at most. Answers whether there is more.
-- KEYS: meta
-- ARGV: id chunk
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
-- include: course
left = min(left, tonumber(chunk))
finish_sweeps(id ~= '' and id or nil)
write_all()
if turn ~= first_turn then
  write_marks()
end
write_events()
write_tokens()
if id == '' then
  return call('ZCARD', P .. 'unswept') > 0 and 1 or 0
end
return call('ZSCORE', P .. 'unswept', id) and 1 or 0
