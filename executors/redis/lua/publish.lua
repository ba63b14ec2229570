-- Make a staged run visible. Answers who has the run's key now, and with what fingerprint; a loser's stage is the client's to
-- take away, or time's.
-- KEYS: meta
-- ARGV: id key fingerprint timeout lanes buckets
-- include: prelude
-- include: records
-- include: lanes
-- include: machine
-- include: course
-- include: accept
local holder = holder_of(key, id)
if holder then
  return holder
end
local run_key = P .. 'r:' .. id
if call('EXISTS', run_key) == 0 then
  return redis.error_reply('GONE the stage of run ' .. id .. ' has expired')
end
call('PERSIST', run_key)
for bucket = 0, tonumber(buckets) - 1 do
  for _, what in ipairs({ ':c:', ':w:', ':e:' }) do
    call('PERSIST', run_key .. what .. bucket)
  end
end
call('PERSIST', run_key .. ':d')
call('PERSIST', run_key .. ':late')
for index, priority in string.gmatch(lanes, '(%d+):(%d+)') do
  call('PERSIST', P .. 'j:' .. id .. ':' .. index .. ':' .. priority)
end
local run = accept(id, key, fingerprint, lanes, timeout)
run.is_swept = run.late >= 0
write_all()
write_marks()
write_events()
write_tokens()
return { id, fingerprint }
