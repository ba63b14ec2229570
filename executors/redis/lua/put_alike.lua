-- As put_plain, for many runs of one shape: what they have in common comes once. Each is accepted by itself, and all become
-- visible together. Answers, for each whose key another run has, its place among them, that run, and its fingerprint.
-- KEYS: meta
-- ARGV: queues lanes ready edges key_ttl fields_count
-- REST: fields and values that the hash of each run has, then of each run its id key fingerprint header records rows
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
-- include: accept
local fields, filled = { 'submitted', now, 'header', '' }, 4 + tonumber(fields_count)
for place = 5, filled do
  fields[place] = ARGV[rest + place - 5]
end
local names = {}
for name in string.gmatch(queues, '[^\n]+') do
  names[#names + 1] = name
end
local laid, rings, from = {}, {}, 1
for index, priority, count_of in string.gmatch(lanes, '(%d+):(%d+):(%d+)') do
  local jobs
  jobs, from = names_from(ready, from, tonumber(count_of))
  local queue = names[tonumber(index) + 1]
  rings[queue] = rings[queue] or {}
  laid[#laid + 1] = { member = ':' .. index .. ':' .. priority, jobs = jobs, ring = rings[queue], class = tonumber(priority) * 4294967296 }
end

local first, keys = rest + filled - 4, {}
for at = first, #ARGV, 6 do
  keys[#keys + 1] = P .. 'r:' .. ARGV[at]
end
local is_repeated = call('EXISTS', unpack(keys)) > 0 -- the answer to the first call was lost
local events, dated, told, strings = { 'at', now }, {}, {}, {}
for place = 1, #keys do
  local at, run_key = first + 6 * (place - 1), keys[place]
  local id, key = ARGV[at], ARGV[at + 1]
  local holder = (is_repeated or key ~= '') and holder_of(key, id)
  if holder then
    if holder[1] ~= id then
      told[#told + 1] = place - 1
      told[#told + 1] = holder[1]
      told[#told + 1] = holder[2]
    end
  else
    fields[4] = ARGV[at + 3]
    call('HSET', run_key, unpack(fields, 1, filled))
    local count = #strings
    strings[count + 1], strings[count + 2] = run_key .. ':c:0', ARGV[at + 4]
    strings[count + 3], strings[count + 4] = run_key .. ':w:0', ARGV[at + 5]
    if #edges > 0 then
      strings[count + 5], strings[count + 6] = run_key .. ':e:0', edges
    end
    if key ~= '' then
      call('HSET', run_key, 'key', key, 'key_ttl', key_ttl)
      call('HSET', P .. 'k:' .. key, 'run', id, 'fingerprint', ARGV[at + 2])
    end
    for number = 1, #laid do
      local lane = laid[number]
      local ring = lane.ring
      call('RPUSH', P .. 'j:' .. id .. lane.member, unpack(lane.jobs))
      turn = (turn + 1) % 4294967296
      ring[#ring + 1] = lane.class + turn
      ring[#ring + 1] = id .. lane.member
    end
    dated[#dated + 1] = now
    dated[#dated + 1] = id
    events[#events + 1] = id
    events[#events + 1] = pack('<BI4H', 1, 4294967295, 0)
  end
end
if #dated > 0 then
  call('MSET', unpack(strings))
  many('ZADD', P .. 'runs', dated, 2)
  many('SADD', P .. 'queues', names)
  call('HSET', meta, 'turn', turn, 'mark', fence_mark)
  call('XADD', P .. 'events', 'MAXLEN', '~', 10000, '*', unpack(events))
  for queue, ring in pairs(rings) do
    many('ZADD', P .. 'q:' .. queue .. ':ring', ring, 2)
    call('ZADD', P .. 'q:' .. queue .. ':wake', 0, '1')
  end
end
return told
