-- Put parts of a staged run where they will stay, some at a time, before `publish` makes it visible. From the first part on, its
-- hash, it is in line to be forgotten, so that nothing stays of a run that is never made visible. Answers 1; 0: it is visible.
-- KEYS: meta
-- ARGV: id stage seconds
-- REST: parts
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
local staged, run_key = P .. 's:' .. stage .. ':', P .. 'r:' .. id
if call('HEXISTS', run_key, 'submitted') == 1 then
  return 0
end
call('ZADD', P .. 'retire', whole(now + tonumber(seconds) * 1000000), id)
for place = rest, #ARGV do
  local part = ARGV[place]
  local key_now = part == 'run' and run_key or string.sub(part, 1, 2) == 'j:' and P .. 'j:' .. id .. string.sub(part, 2) or run_key .. ':' .. part
  if call('PERSIST', staged .. part) == 1 then
    call('RENAME', staged .. part, key_now)
  elseif call('EXISTS', key_now) == 0 then
    return redis.error_reply('GONE the stage of run ' .. id .. ' has expired')
  end
end
return 1
