-- The state of a job; -1 where it is gone.
-- KEYS: meta
-- ARGV: id job
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
-- include: records
local run = run_of(id)
return run and record_of(run, tonumber(job))[STATE] or -1
