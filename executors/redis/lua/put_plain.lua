-- As put_run, for what most runs are: nothing is late, they have no deadline, and no limits are stated. It needs none of what
-- makes a run go on.
-- KEYS: meta
-- ARGV: id key fingerprint lanes ready records edges rows queues fields_count delays_count
-- REST: fields and values of the run's hash, jobs and delays, jobs and rows that are set apart
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
-- include: accept
local holder = holder_of(key, id)
if holder then
  return holder
end
local run_key, at = P .. 'r:' .. id, rest
local function hash(name, first, count_of)
  local fields = { 'submitted', now }
  local filled = name == run_key and 2 or 0
  for place = 1, count_of do
    fields[filled + place] = ARGV[first + place - 1]
  end
  fields.count = filled + count_of
  many('HSET', name, fields, 2)
  return first + count_of
end

at = hash(run_key, at, tonumber(fields_count))
at = hash(run_key .. ':d', at, 2 * tonumber(delays_count))
hash(run_key .. ':b', at, #ARGV - at + 1)
if #edges > 0 then
  call('MSET', run_key .. ':c:0', records, run_key .. ':w:0', rows, run_key .. ':e:0', edges)
else
  call('MSET', run_key .. ':c:0', records, run_key .. ':w:0', rows)
end
if key ~= '' then
  call('HSET', P .. 'k:' .. key, 'run', id, 'fingerprint', fingerprint)
end
call('ZADD', P .. 'runs', now, id)
local names = {}
for name in string.gmatch(queues, '[^\n]+') do
  names[#names + 1] = name
end
many('SADD', P .. 'queues', names)
local from, roused = 1, {}
for index, priority, count_of in string.gmatch(lanes, '(%d+):(%d+):(%d+)') do
  local jobs
  jobs, from = names_from(ready, from, tonumber(count_of))
  if #jobs > 0 then
    local lane = id .. ':' .. index .. ':' .. priority
    many('RPUSH', P .. 'j:' .. lane, jobs)
    local queue = tonumber(index) == CONTROL and CONTROL_QUEUE or names[tonumber(index) + 1]
    turn = (turn + 1) % 4294967296
    call('ZADD', P .. 'q:' .. queue .. ':ring', 'NX', tonumber(priority) * 4294967296 + turn, lane)
    roused[queue] = true
  end
end
call('HSET', meta, 'turn', turn, 'mark', fence_mark)
call('XADD', P .. 'events', 'MAXLEN', '~', 10000, '*', 'at', now, id, pack('<BI4H', 1, 4294967295, 0))
for queue in pairs(roused) do
  call('ZADD', P .. 'q:' .. queue .. ':wake', 0, '1')
end
return { id, fingerprint }
