-- Make a staged run visible. Answers who has the run's key now, and with what fingerprint; a loser's stage is the client's to
-- take away, or time's.
-- KEYS: meta
-- ARGV: id key fingerprint timeout limited stage lanes buckets
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
  return holder
end
local staged, run_key = P .. 's:' .. stage .. ':', P .. 'r:' .. id
if call('EXISTS', staged .. 'run') == 0 then
  return redis.error_reply('GONE the stage of run ' .. id .. ' has expired')
end

local function show(part, key_now)
  if call('PERSIST', staged .. part) == 1 then
    call('RENAME', staged .. part, key_now)
  end
end

show('run', run_key)
for bucket = 0, tonumber(buckets) - 1 do
  for _, what in ipairs({ 'c:', 'w:', 'e:' }) do
    show(what .. bucket, run_key .. ':' .. what .. bucket)
  end
end
show('d', run_key .. ':d')
show('b', run_key .. ':b')
show('late', run_key .. ':late')
for lane in string.gmatch(lanes, '%d+:%d+') do
  show('j:' .. lane, P .. 'j:' .. id .. ':' .. lane)
end
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
