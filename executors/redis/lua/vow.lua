-- A job of a run is about to reserve a job-level key, in whichever shard: when the run is forgotten, so is what it has reserved and
-- not filed. Answers whether the run is there.
-- KEYS: meta
-- ARGV: id vowed
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
local key = P .. 'r:' .. id
if call('EXISTS', key) == 0 then
  return 0
end
call('SADD', key .. ':vows', vowed)
return 1
