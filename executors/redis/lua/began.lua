-- The handler of a granted job starts now. Answers the instant.
-- KEYS: meta
-- ARGV: id job fence
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
local run = run_of(id)
local record = run and record_of(run, tonumber(job))
if record and record[STATE] == ACTIVE and record[FENCE] == tonumber(fence) then
  settle_start(run, record, home_of(run, record), now)
end
return whole(now)
