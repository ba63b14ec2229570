-- Forget runs whose time is over, at most so many keys a call. Answers whether there is more to forget now. Who waits
-- for a run has a while to read it, also where nothing is kept; what an operator removes (due at 0) goes at once.
-- KEYS: meta
-- ARGV: most
-- include: prelude
local LINGERS = 30 * 1000 * 1000 -- microseconds
local since = whole(now - LINGERS)
local left = tonumber(most)
while left > 0 do
  local due = call('ZRANGEBYSCORE', P .. 'retire', '-inf', since, 'LIMIT', 0, 1)
  local id = due[1]
  if not id then
    return 0
  end
  local key = P .. 'r:' .. id
  local found = call('HMGET', key, 'course', 'retired', 'lanes', 'name', 'queues', 'cleared')
  local size = found[1] and struct_unpack('<I4', found[1], 9) or 0
  local buckets = floor((size + BUCKET - 1) / BUCKET)
  local bucket = tonumber(found[2]) or 0
  local has_lists = call('EXISTS', key .. ':l') == 1
  while bucket < buckets and left > 0 do
    local base = key .. ':'
    local keys = { base .. 'c:' .. bucket, base .. 'w:' .. bucket, base .. 'e:' .. bucket }
    for part = bucket * BUCKET / VALUES, (bucket + 1) * BUCKET / VALUES - 1 do
      keys[#keys + 1] = base .. 'v:' .. part
      if has_lists then
        keys[#keys + 1] = base .. 'i:' .. part
      end
    end
    call('UNLINK', unpack(keys))
    bucket = bucket + 1
    left = left - #keys
  end
  if bucket < buckets then
    call('HSET', key, 'retired', bucket)
    return 1
  end
  local names = {}
  for name in string.gmatch(found[5] or '', '[^\n]+') do
    names[#names + 1] = name
  end
  while true do -- its dead letters
    local dead = call('SPOP', key .. ':f', 50)
    for _, one in ipairs(dead) do
      local _, index = struct_unpack('<I4H', one)
      local member = id .. ':' .. string.sub(one, 1, 4)
      call('ZREM', P .. 'dead', member)
      call('ZREM', P .. 'q:' .. (names[index + 1] or CONTROL_QUEUE) .. ':dead', member)
    end
    left = left - 2 * #dead
    if #dead < 50 then
      break
    elseif left <= 0 then
      return 1
    end
  end
  while true do -- what its jobs have reserved and not filed is free
    local keys = call('SPOP', key .. ':k', 50)
    for _, shared in ipairs(keys) do
      local found = call('HMGET', P .. 'h:' .. shared, 'run', 'done')
      if found[1] == id and not found[2] then
        call('UNLINK', P .. 'h:' .. shared, P .. 'h:' .. shared .. ':waiting')
      end
    end
    left = left - #keys
    if #keys < 50 then
      break
    elseif left <= 0 then
      return 1
    end
  end
  while true do -- what they have reserved in any shard is for workers to free
    local vows = call('SPOP', key .. ':vows', 50)
    many('SADD', P .. 'vows', vows)
    left = left - #vows
    if #vows < 50 then
      break
    elseif left <= 0 then
      return 1
    end
  end
  local lanes, at = found[3] or '', tonumber(found[6]) or 1
  while at < #lanes do
    local _, last, index, priority = string.find(lanes, '(%d+):(%d+)', at)
    local member = id .. ':' .. index .. ':' .. priority
    call('UNLINK', P .. 'j:' .. member)
    -- Where nobody has claimed since its last job was taken, a queue knows the lane still.
    call('ZREM', P .. 'q:' .. (names[index + 1] or CONTROL_QUEUE) .. ':ring', member)
    left, at = left - 2, last + 1
    if left <= 0 and at < #lanes then
      call('HSET', key, 'retired', bucket, 'cleared', at)
      return 1
    end
  end
  if found[4] then
    call('ZREM', P .. 'n:' .. found[4], id)
    if call('EXISTS', P .. 'n:' .. found[4]) == 0 then
      call('SREM', P .. 'names', found[4])
    end
  end
  for _, what in ipairs({ ':x', ':a', ':d', ':later', ':cascade', ':late', ':p', ':g', ':u', ':l', ':o', ':b', ':grow', ':t', '' }) do
    call('UNLINK', key .. what)
  end
  left = left - 10
  for _, set in ipairs({ 'retire', 'runs', 'unswept', 'deadlines' }) do
    call('ZREM', P .. set, id)
  end
end
return call('ZCOUNT', P .. 'retire', '-inf', since) > 0 and 1 or 0
