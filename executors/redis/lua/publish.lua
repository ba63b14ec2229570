-- Make a run visible whose parts have been moved to their places. Answers who has the run's key now, and with what fingerprint;
-- what a loser has brought is forgotten next.
-- KEYS: meta
-- ARGV: id key fingerprint timeout limited lanes
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
-- include: course
-- include: accept
local holder = holder_of(key, id)
if holder then
  if holder[1] ~= id then
    call('ZADD', P .. 'retire', 'XX', 0, id)
  end
  return holder
end
local run_key = P .. 'r:' .. id
if call('EXISTS', run_key) == 0 or call('HEXISTS', run_key, 'retired') == 1 then
  return redis.error_reply('GONE the stage of run ' .. id .. ' has expired')
end
call('ZREM', P .. 'retire', id)
if limited ~= '' then
  state_limits(limited)
end
local run = accept(id, key, fingerprint, lanes, timeout)
run.is_swept = run.late >= 0
write_all()
write_marks()
write_events()
write_tokens()
return { id, fingerprint }
