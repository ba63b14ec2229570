-- Cancel a run: nothing of it starts from now on. Answers 0: it has ended, or was cancelled before; 1: done; 2: there is more to
-- mark, for `sweep`; -1: there is no such run.
-- KEYS: meta
-- ARGV: id reason chunk
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
-- include: course
left = min(left, tonumber(chunk))
local run = run_of(id)
if not run then
  return -1
elseif run.ended or run.cancelling then
  return call('ZSCORE', P .. 'unswept', id) and 2 or 0
end
run.is_swept = true
begin_cancel(run, reason)
sweep(run)
write_all()
write_events()
write_tokens()
return call('ZSCORE', P .. 'unswept', id) and 2 or 1
