-- File a job's result under its key, in the shard that keeps it. Answers the result that counts; nothing if that is the job's own
-- and was not filed, because its reservation was lost to another job, or to a newer attempt.
-- KEYS: meta
-- ARGV: id name fence key value ttl
-- include: prelude
local shared = P .. 'h:' .. key
local found = call('HMGET', shared, 'run', 'name', 'done', 'value', 'fence')
if found[1] ~= id or found[2] ~= name then
  return false
elseif found[3] then
  return found[4]
elseif tonumber(found[5]) ~= tonumber(fence) then
  return false
end
call('HSET', shared, 'done', '1', 'value', value)
call('PEXPIRE', shared, ttl)
return value
