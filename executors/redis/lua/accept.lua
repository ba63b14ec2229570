-- A run becomes visible: its key is taken, its lanes join their rings, its clocks start.

-- Who has the key; nil if nobody has. A call that was sent twice finds itself.
local function holder_of(key, id)
  if call('HEXISTS', P .. 'r:' .. id, 'submitted') == 1 then
    return { id, '' }
  end
  if key ~= '' then
    local found = call('HMGET', P .. 'k:' .. key, 'run', 'fingerprint')
    if found[1] then
      return found
    end
  end
  return nil
end

-- The names of a lane's jobs, *count* of them, from *at* on; and where the next ones begin.
local function names_from(ready, at, count)
  local jobs = {}
  for place = 1, count do
    jobs[place] = string.sub(ready, at, at + 3)
    at = at + 4
  end
  return jobs, at
end

-- A run is to be cancelled at *at*. Workers know the first deadline of all; who has a new one says so.
local function set_deadline(id, at)
  call('ZADD', P .. 'deadlines', at, id)
  if call('ZRANGE', P .. 'deadlines', 0, 0)[1] == id then
    call('XADD', P .. 'stops', 'MAXLEN', '~', 1000, '*', '@' .. whole(at), 1)
  end
end

local function accept(id, key, fingerprint, lanes, timeout)
  local run_key = P .. 'r:' .. id
  call('HSET', run_key, 'submitted', now)
  if key ~= '' then
    call('HSET', P .. 'k:' .. key, 'run', id, 'fingerprint', fingerprint)
  end
  call('ZADD', P .. 'runs', now, id)
  if tonumber(timeout) > 0 then
    set_deadline(id, now + tonumber(timeout))
  end
  local run = run_of(id)
  queue_name(run, 0)
  for first = 1, #run.queues, 900 do
    call('SADD', P .. 'queues', unpack(run.queues, first, min(#run.queues, first + 899)))
  end
  for index, priority in string.gmatch(lanes, '(%d+):(%d+)') do
    local queue = queue_name(run, tonumber(index))
    call('ZADD', of_queue(queue, 'ring'), 'NX', next_turn(tonumber(priority)), id .. ':' .. index .. ':' .. priority)
    rouse(queue)
  end
  note(run, TOLD.submitted)
  return run
end
