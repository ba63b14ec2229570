-- What a handler says while it runs: how far it is (`progress`, as JSON), or a line of its log. Answers whether it was taken: not
-- when the attempt is over, or another's.
-- KEYS: meta
-- ARGV: id job fence what text most
-- include: prelude
-- include: records
local run = run_of(id)
job = tonumber(job)
local record = run and record_of(run, job)
if not record or record[STATE] ~= ACTIVE or record[FENCE] ~= tonumber(fence) then
  return 0
end
if what == 'progress' then
  call('HSET', run.key .. ':p', name_of(run, job), text)
  local told = pack('<BI4H', 16, job, record[ATTEMPT]) .. text
  call('XADD', P .. 'events', 'MAXLEN', '~', 10000, '*', 'at', whole(now), id, told)
  return 1
end
local key = run.key .. ':g'
local line = call('HINCRBY', key, name_of(run, job), 1)
if line > tonumber(most) then
  return 0
end
call('HSET', key, name_of(run, job) .. pack('<I4', line - 1), text)
return 1
