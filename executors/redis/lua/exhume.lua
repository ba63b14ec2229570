-- Take dead letters of a run off the lists: those that are none any more, or all that are named. Answers how many were there.
-- KEYS: meta
-- ARGV: id named all
-- include: prelude
-- include: records
-- include: lanes
local run, count_of = run_of(id), 0
for at = 1, #named, 6 do
  local one = string.sub(named, at, at + 5)
  local job, index = struct_unpack('<I4H', one)
  local record = run and record_of(run, job)
  if run and (all == '1' or record[STATE] ~= FAILED or band(record[MARKS], OWN) == 0) then
    local member = member_of(run, job)
    count_of = count_of + call('ZREM', P .. 'dead', member)
    call('ZREM', of_queue(queue_name(run, index), 'dead'), member)
    call('SREM', run.key .. ':f', one)
  end
end
return count_of
