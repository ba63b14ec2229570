-- File a job's result under its key, before the job is settled. Answers the result that counts; nothing if that is the job's own
-- and was not filed, because its lease or its reservation was lost.
-- KEYS: meta
-- ARGV: id job fence name key value ttl
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
local shared = P .. 'h:' .. key
local found = call('HMGET', shared, 'run', 'name', 'done', 'value')
if found[1] ~= id or found[2] ~= name then
  return false
elseif found[3] then
  return found[4]
end
local run = run_of(id)
local record = run and record_of(run, tonumber(job))
if not record or record[STATE] ~= ACTIVE or record[FENCE] ~= tonumber(fence) then
  return false
end
call('HSET', shared, 'done', '1', 'value', value)
call('PEXPIRE', shared, ttl)
call('SREM', run.key .. ':k', key)
for _, member in ipairs(call('SMEMBERS', shared .. ':waiting')) do
  local other, place = member_parts(member)
  local waiting = run_of(other)
  local one = waiting and record_of(waiting, place)
  if one and one[STATE] == DELAYED then
    local queue = home_of(waiting, one)
    call('ZADD', of_queue(queue, 'due'), 'XX', whole(now), member)
    rouse(queue)
  end
end
call('UNLINK', shared .. ':waiting')
write_tokens()
return value
