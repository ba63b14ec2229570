-- Turns: whose job is next. Runs that stand in line in a queue take turns, and what a call itself has made ready goes before.
-- define: TURN 32 SUSPECT 1
-- rare: take_suspect

-- Jobs that have become ready by this very call need not stand in line to be claimed. Those of runs whose turn goes on are before
-- their equals in the queue.
local opening = {}
local function hold_back(is_wanted)
  local kept = {}
  for _, lane in ipairs(opened_lanes) do
    local queue = lane.queue
    if is_wanted[queue] and #lane.first == 0 and not call('ZSCORE', of_queue(queue, 'ring'), lane.member) then
      lane.goes_on, lane.used, lane.spent, lane.turned = lane.run.taken < TURN, 0, false, false
      opened[lane] = nil
      opening[queue] = opening[queue] or {}
      table.insert(opening[queue], lane)
    else
      kept[#kept + 1] = lane
    end
  end
  opened_lanes = kept
end

-- What nobody has claimed of them stands in line.
local function let_go(queue)
  for _, lane in ipairs(opening[queue]) do
    local rest = {}
    for place = lane.used + 1, #lane.last do
      rest[#rest + 1] = lane.last[place]
    end
    lane.last = rest
    if #rest > 0 then
      opened_lanes[#opened_lanes + 1] = lane
    end
  end
  opening[queue] = nil
  write_lanes()
end

local function lane_named(member)
  local id, index, priority = string.match(member, '^([^:]+):(%d+):(%d+)$')
  return { id = id, index = tonumber(index), priority = tonumber(priority), member = member, key = P .. 'j:' .. member, taken = 0 }
end

local function take_from(lane, limit)
  local run, found, taken = lane.run or run_of(lane.id), nil, nil
  if not run or run.cancelling then
    lane.spent = true -- whoever marks its jobs takes it away
    return
  end
  lane.run = run
  if lane.used then
    taken = min(limit, #lane.last - lane.used)
    found = { unpack(lane.last, lane.used + 1, lane.used + taken) }
    lane.used = lane.used + taken
    lane.spent = lane.used == #lane.last
  else
    found = call('LRANGE', lane.key, lane.taken, lane.taken + limit)
    taken = min(limit, #found)
    lane.taken = lane.taken + taken
    lane.spent = #found <= limit
  end
  for place = 1, taken do
    local name = found[place]
    local job = struct_unpack('<I4', name)
    run.names[job] = name
    local record = record_of(run, job)
    if record[STATE] == WAITING then
      grant(run, record, 0)
    end
  end
end

-- Take a turn of a lane: what is left of the run's own, if that goes on; else a new one.
local function take_turn(lane, room)
  local before, taken = granted, lane.goes_on and lane.run.taken or 0
  take_from(lane, min(TURN - taken, room))
  lane.goes_on = false
  local run = lane.run
  if run and run.taken ~= taken + granted - before then
    run.taken = taken + granted - before
    run.told_apart = run.told_apart or {}
  end
end

local taken_lanes, trims = {}, {}

-- What was decided about lanes is written when all has been decided; removals first.
local function write_taken()
  for _, lane in ipairs(taken_lanes) do
    call('LPOP', lane.key, lane.taken)
  end
  for _, trim in ipairs(trims) do
    many('ZREM', trim.key, trim.gone)
    many('ZADD', trim.key, trim.moved, 2)
  end
end

-- The lanes of a queue in the order of their turns: those of its ring that were found, and those opened now.
local function lanes_of(found, joining)
  local line, at, last = {}, 1, found[#found] and lane_named(found[#found]).priority or math.huge
  for place = 1, #found do
    line[place] = lane_named(found[place])
  end
  for _, lane in ipairs(joining) do
    if not found.is_cut or lane.priority < last or (lane.goes_on and lane.priority == last) then
      at = 1
      while line[at] and (line[at].priority < lane.priority or (line[at].priority == lane.priority and (line[at].goes_on or not lane.goes_on))) do
        at = at + 1
      end
      table.insert(line, at, lane)
    end
  end
  return line
end

-- Runs of equal priority take turns of 32 jobs; a lower number goes first. True if the queue has more.
local function take_turns(queue, limit)
  local key = of_queue(queue, 'ring')
  local goal = granted + limit
  local found = call('ZRANGE', key, 0, limit - 1)
  found.is_cut = #found == limit
  local line, head, seen = lanes_of(found, opening[queue] or {}), 1, {}
  while head <= #line and granted < goal do
    local lane = line[head]
    take_turn(lane, goal - granted)
    if not lane.turned and not lane.used then
      seen[#seen + 1] = lane
    end
    head = head + 1
    if not lane.spent then
      local place = head
      while line[place] and line[place].priority == lane.priority do
        place = place + 1
      end
      table.insert(line, place, lane)
      lane.turned = true
    end
  end
  local gone, moved = {}, {}
  local is_left = line[head] ~= nil
  if opening[queue] then
    let_go(queue)
  end
  for _, lane in ipairs(seen) do
    if lane.taken > 0 then
      taken_lanes[#taken_lanes + 1] = lane
    end
    if lane.spent then
      gone[#gone + 1] = lane.member
    end
  end
  for place = head, #line do
    local lane = line[place]
    if lane.turned and not lane.spent then
      moved[#moved + 1] = next_turn(lane.priority)
      moved[#moved + 1] = lane.member
    end
  end
  trims[#trims + 1] = { key = key, gone = gone, moved = moved }
  return is_left or found.is_cut
end

-- At most one job that has lost a worker, so that a deadly one takes no others with it.
local function take_suspect(queue)
  local key = of_queue(queue, 'suspects')
  local before = granted
  for _ = 1, 20 do
    local found = call('ZRANGE', key, 0, 0)
    if not found[1] then
      return false
    end
    local id, job = member_parts(found[1])
    local run = run_of(id)
    local record = run and record_of(run, job)
    if record and record[STATE] == WAITING and not run.cancelling then
      grant(run, record, SUSPECT)
      trims[#trims + 1] = { key = key, gone = { found[1] }, moved = {} }
      return true
    end
    call('ZREM', key, found[1]) -- of a run that is gone, or was cancelled
  end
  return granted > before
end
