-- Queues. A lane is the list of waiting jobs of one run in one queue at one priority; a queue's ring says which lane is next.
-- rare: postpone
local opened, opened_lanes = {}, {}
local delays, delayed_queues = {}, {}
local has_postponed = false
local freed, freed_queues = {}, {}
local roused, rousing = {}, {}
local filled, filling = {}, {} -- queues that jobs were put into
local claimed_out = {} -- of these, the ones that this very call has left nothing in

local function of_queue(name, what)
  return P .. 'q:' .. name .. ':' .. what
end

-- Somebody who waits for jobs of that queue should look.
local function rouse(name)
  if not roused[name] then
    roused[name] = true
    rousing[#rousing + 1] = name
  end
end

-- Put a job into its lane.
local function enqueue(run, record)
  local index = record[QUEUE]
  if is_control(record) then
    index = CONTROL
  end
  local slot = index * 2097152 + record[PRIORITY]
  local lane = run.lanes[slot]
  if not lane then
    lane = { member = run.prefix .. index .. ':' .. record[PRIORITY], queue = queue_name(run, index), priority = record[PRIORITY], last = {}, first = {}, run = run }
    run.lanes[slot] = lane
  end
  if not opened[lane] then
    opened[lane] = true
    opened_lanes[#opened_lanes + 1] = lane
  end
  if band(record[FLAGS], LIFO) ~= 0 then
    lane.first[#lane.first + 1] = name_of(run, record[JOB])
  else
    lane.last[#lane.last + 1] = name_of(run, record[JOB])
  end
end

-- Put a job aside until *due*.
local function postpone(run, record, due)
  local queue = home_of(run, record)
  local list = delays[queue]
  has_postponed = true
  if not list then
    list = { soonest = due }
    delays[queue] = list
    delayed_queues[#delayed_queues + 1] = queue
  end
  list[#list + 1] = due
  list[#list + 1] = member_of(run, record[JOB])
  list.soonest = min(list.soonest, due)
  extra_of(run, record, true).due = due
end

-- The attempt is over: its lease ends when all is written. It began at *started*; nil: not at all.
local function free(run, record, started)
  local queue = home_of(run, record)
  if is_limited then
    settle_start(run, record, queue, started)
  end
  local list = freed[queue]
  if not list then
    list = { count = 0 }
    freed[queue] = list
    freed_queues[#freed_queues + 1] = queue
  end
  local count = list.count + 1
  list.count = count
  list[count] = member_of(run, record[JOB])
end

local function write_freed()
  for _, queue in ipairs(freed_queues) do
    many('ZREM', of_queue(queue, 'leases'), freed[queue])
    if is_limited then
      offer(queue)
    end
  end
  freed, freed_queues = {}, {}
end

local function next_turn(priority)
  turn = (turn + 1) % 4294967296
  return priority * 4294967296 + turn
end

local function write_lanes()
  for _, lane in ipairs(opened_lanes) do
    local key = P .. 'j:' .. lane.member
    many('RPUSH', key, lane.last)
    many('LPUSH', key, lane.first)
    lane.last, lane.first = {}, {}
    call('ZADD', of_queue(lane.queue, 'ring'), 'NX', next_turn(lane.priority), lane.member)
    if not filled[lane.queue] then
      filled[lane.queue] = true
      filling[#filling + 1] = lane.queue
    end
  end
  opened, opened_lanes = {}, {}
  for _, queue in ipairs(delayed_queues) do
    local list, key = delays[queue], of_queue(queue, 'due')
    local before = call('ZRANGE', key, 0, 0, 'WITHSCORES')
    many('ZADD', key, list, 2)
    if not before[2] or tonumber(before[2]) > list.soonest then
      rouse(queue)
    end
  end
  delays, delayed_queues = {}, {}
end

-- Leave one token for each queue that somebody may find something in now. Tokens have no places: two are one.
local function write_tokens()
  for _, queue in ipairs(filling) do
    if not claimed_out[queue] then
      rouse(queue)
    end
  end
  for _, queue in ipairs(rousing) do
    call('ZADD', of_queue(queue, 'wake'), 0, '1')
  end
end
