-- Limits of queues: a pause, places for active jobs, a rate of starts. A place is the lease itself. A start takes one of the
-- rate's places when its job is claimed, and gives it back one period after the attempt began.
-- rare: limit_of starts_key start_named room_of opens_at settle_start offer state_limits
local limits = {}
local granted = 0
local handed = {} -- by queue, jobs granted by this call

-- What limits a queue; nil if nothing does.
local function limit_of(queue)
  local limit = limits[queue]
  if limit == nil then
    local stated = is_limited and call('HGET', P .. 'limits', queue)
    limit = false
    if stated then
      local paused, concurrency, starts, period = string.match(stated, '^(%d+) (%d+) (%d+) (%d+)$')
      limit = { paused = paused == '1', concurrency = tonumber(concurrency), starts = tonumber(starts), period = tonumber(period) }
    end
    limits[queue] = limit
  end
  return limit or nil
end

local function starts_key(queue)
  return of_queue(queue, 'starts')
end

local function start_named(run, record)
  return member_of(run, record[JOB]) .. whole(record[FENCE])
end

-- How many jobs of a queue may be claimed, and whether that is its limit and not the caller's.
local function room_of(queue, wanted, at_once)
  local limit = limit_of(queue)
  if not limit then
    return wanted, false
  elseif limit.paused then
    return 0, true
  end
  local room, places = wanted, wanted
  if limit.concurrency > 0 or limit.starts > 0 then
    room = min(wanted, at_once - granted)
  end
  if limit.concurrency > 0 then
    places = min(places, limit.concurrency - call('ZCARD', of_queue(queue, 'leases')) - (handed[queue] or 0))
  end
  if limit.starts > 0 then
    call('ZREMRANGEBYSCORE', starts_key(queue), '-inf', whole(now - limit.period))
    places = min(places, limit.starts - call('ZCARD', starts_key(queue)) - (handed[queue] or 0))
  end
  return max(0, min(room, places)), places < wanted
end

-- When a rate lets another attempt start, if it keeps one back now; else nil.
local function opens_at(queue)
  local limit = limit_of(queue)
  if not limit or limit.paused or limit.starts == 0 or call('ZCARD', of_queue(queue, 'ring')) == 0 then
    return nil
  end
  local taken = call('ZCARD', starts_key(queue))
  if taken < limit.starts then
    return nil
  end
  local found = call('ZRANGE', starts_key(queue), taken - limit.starts, taken - limit.starts, 'WITHSCORES')
  local at = tonumber(found[2])
  return (found[2] == 'inf' or not at) and now + limit.period or at + limit.period
end

-- A start that was taken when the job was claimed: it was at *at*; or there was none.
local function settle_start(run, record, queue, at)
  local limit = limit_of(queue)
  if limit and limit.starts > 0 then
    local key, name = starts_key(queue), start_named(run, record)
    if call('ZSCORE', key, name) == 'inf' then
      if at then
        local last = call('ZREVRANGEBYSCORE', key, '(+inf', '-inf', 'WITHSCORES', 'LIMIT', 0, 1)
        call('ZADD', key, whole(max(at, tonumber(last[2]) or 0)), name)
      else
        call('ZREM', key, name)
      end
      if call('ZCOUNT', key, '+inf', '+inf') == 0 then -- where nobody looks again, it goes by itself
        call('PEXPIRE', key, floor(limit.period / 1000) + 60000)
      end
    end
  end
end

-- A place is free: somebody may be waiting for it.
local function offer(queue)
  local limit = limit_of(queue)
  if limit and not limit.paused and call('ZCARD', of_queue(queue, 'ring')) > 0 then
    rouse(queue)
  end
end

-- Put limits into force, or lift them. What runs already counts as started.
local function state_limits(stated)
  for queue, concurrency, starts, period in string.gmatch(stated, '([^\t\n]+)\t(%d+)\t(%d+)\t(%d+)') do
    local limit = limit_of(queue)
    local paused = limit and limit.paused and '1' or '0'
    local text = paused .. ' ' .. concurrency .. ' ' .. starts .. ' ' .. period
    if text == '0 0 0 0' then
      if limit then
        call('HDEL', P .. 'limits', queue)
        call('UNLINK', starts_key(queue))
        rouse(queue)
      end
    elseif not limit or call('HGET', P .. 'limits', queue) ~= text then
      call('HSET', P .. 'limits', queue, text)
      call('HSET', meta, 'limited', '1')
      is_limited = true
      if starts == '0' then
        call('UNLINK', starts_key(queue))
      end
      rouse(queue)
    end
    limits[queue] = nil
  end
end
