-- The plain exchange: what is claimed.
-- What a line has are members of the ring, until they are come to.
local function lane_at(line, place)
  local lane = line[place]
  if type(lane) ~= 'string' then
    return lane
  end
  local id, index, priority = match(lane, '^([^:]+):(%d+):(%d+)$')
  lane = { id = id, member = lane, index = tonumber(index), priority = tonumber(priority), count = 0, used = 0, taken = 0 }
  line[place] = lane
  return lane
end

local function member_of(lane)
  return lane.run.id .. ':' .. format('%d', lane.index) .. ':' .. format('%d', lane.priority)
end

-- Take up to *wanted* jobs of a lane: those that are stored, then those that have joined it now. False where one is not plain.
local function take_from(lane, wanted, inline)
  local run = lane.run or run_of(lane.id)
  if not run then
    return false
  end
  lane.run = run
  if lane.member and not lane.is_empty then
    local found = call('LRANGE', P .. 'j:' .. lane.member, lane.taken, lane.taken + wanted)
    local count = min(#found, wanted)
    for place = 1, count do
      local name = found[place]
      local record = record_of(run, (struct_unpack('<I4', name)))
      if not record or not grant(run, record, name, inline) then
        return false
      end
    end
    lane.taken, lane.is_empty = lane.taken + count, #found <= wanted
    wanted = wanted - count
    if not lane.is_empty then
      return true
    end
  end
  local last = min(lane.count, lane.used + wanted)
  for place = lane.used + 1, last do
    local record = lane[place]
    if not grant(run, record, pack('<I4', record[JOB]), inline) then
      return false
    end
  end
  lane.used, lane.is_spent = last, last == lane.count
  return true
end

-- Take a turn of a lane: what is left of the run's own, if that goes on; else a new one. False where something is not plain.
local function take_turn(lane, room, inline)
  local before, taken = granted, lane.goes_on and lane.run.course[TAKEN] or 0
  if not take_from(lane, min(TURN - taken, room), inline) then
    return false
  end
  lane.goes_on = false
  local run = lane.run
  run.course[TAKEN], run.is_changed = taken + granted - before, true
  return true
end

-- Lanes of runs whose turn goes on, in the order of their priorities, before their equals.
local function merged(going, line)
  local all, at = {}, 1
  for number = 1, #going do
    local lane = going[number]
    while line[at] and lane_at(line, at).priority < lane.priority do
      all[#all + 1], at = line[at], at + 1
    end
    all[#all + 1] = lane
  end
  local ahead = #all - at + 1
  for place = at, #line do
    all[ahead + place] = line[place]
  end
  return all
end

-- A lane comes behind its equals.
local function join(line, lane)
  local place = #line + 1
  while place > 1 and lane_at(line, place - 1).priority > lane.priority do
    place = place - 1
  end
  insert(line, place, lane)
end

-- The lanes of a queue in the order of their turns: those of its ring, *wanted* at most, and those opened now among them. Those
-- that come after all of these are left out.
local function line_of(ring, found, lanes, wanted)
  local last = #found == wanted and lane_at(found, wanted).priority or math.huge
  local members, going = {}, {}
  for number = 1, #lanes do
    members[number] = member_of(lanes[number])
  end
  local there = #found > 0 and call('ZMSCORE', ring, unpack(members)) or NONE
  for number = 1, #lanes do
    local lane = lanes[number]
    if there[number] then
      lane.member = members[number]
      for place = 1, #found do
        if found[place] == lane.member or found[place].member == lane.member then
          found[place] = lane
        end
      end
    elseif lane.run.course[TAKEN] < TURN and lane.priority <= last then
      lane.goes_on = true
      join(going, lane)
    elseif lane.priority < last then
      join(found, lane)
    end
  end
  return #going > 0 and merged(going, found) or found
end

-- Runs of equal priority take turns. False where something is not plain.
local function claim(queue, wanted, inline)
  local lanes = opened[queue.name]
  local found = is_still and NONE or call('ZRANGE', queue.ring, 0, wanted - 1)
  if #found == 0 and (not lanes or #lanes == 1) then -- most often: what is ready now is all there is
    local lane, before = lanes and lanes[1], granted
    if not lane then
      return true
    elseif not take_from(lane, wanted, inline) then
      return false
    end
    local course = lane.run.course
    course[TAKEN] = (course[TAKEN] + granted - before - 1) % TURN + 1
    if lane.is_spent then
      lanes.is_done = true
    else
      lines[#lines + 1] = { queue = queue, lanes = lanes }
      roused[#roused + 1] = queue.name
      more = true
    end
    return true
  end
  if lanes and #lanes > MANY then
    return false
  elseif is_still then
    found = {} -- lanes are put in; the other one is kept from call to call
  end
  local is_cut = #found == wanted
  local line, used = lanes and line_of(queue.ring, found, lanes, wanted) or found, {}
  local goal, head, has_turned = granted + wanted, 1, false
  while line[head] and granted < goal do
    local lane = lane_at(line, head)
    if not take_turn(lane, goal - granted, inline) then
      return false
    elseif not lane.has_turned then
      used[#used + 1] = lane
    end
    head = head + 1
    if not lane.is_spent then
      local place = head
      while line[place] and lane_at(line, place).priority == lane.priority do
        place = place + 1
      end
      insert(line, place, lane)
      lane.has_turned, has_turned = true, true
    end
  end
  if is_cut or line[head] then
    roused[#roused + 1] = queue.name
    more = true
  end
  lines[#lines + 1] = { queue = queue, used = used, line = has_turned and line or NONE, head = head, lanes = lanes }
  return true
end

local function claim_all(set, limit, inline)
  for place = 1, #set do
    local queue = set[place]
    if granted < limit then
      if not claim(queue, limit - granted, inline) then
        return false
      end
    elseif opened[queue.name] or call('EXISTS', queue.ring) > 0 then
      lines[#lines + 1] = { queue = queue, lanes = opened[queue.name] }
      roused[#roused + 1] = queue.name
      more = true
    end
  end
  return true
end

-- Runs that end with this call. False where that thins out others.
local function end_all()
  for place = 1, #seen do
    local run = seen[place]
    if run.course[OPEN] == 0 then
      local ending = call('HMGET', run.key, 'keep', 'keep_failed', 'key', 'key_ttl', 'keep_count', 'name')
      if ending[5] then
        return false
      end
      run.ending = ending
    end
  end
  return true
end
