-- The plain exchange: what is claimed.
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

local function member_of(lane)
  return lane.run.id .. ':' .. format('%d', lane.index) .. ':' .. format('%d', lane.priority)
end

-- The lanes of a queue in the order of their turns: those of its ring, *wanted* at most, and those opened now among them. Those
-- that come after all of these are left out.
local function line_of(found, lanes, wanted)
  local line, places = {}, {}
  for place = 1, #found do
    local id, index, priority = match(found[place], '^([^:]+):(%d+):(%d+)$')
    line[place] = { id = id, member = found[place], index = tonumber(index), priority = tonumber(priority), count = 0, used = 0, taken = 0 }
    places[found[place]] = place
  end
  local last = #found == wanted and line[wanted].priority or math.huge
  for number = 1, lanes and #lanes or 0 do
    local lane = lanes[number]
    local known = #found > 0 and places[member_of(lane)]
    if known then
      lane.member = found[known]
      for place = 1, #line do
        if line[place].member == lane.member then
          line[place] = lane
        end
      end
    elseif lane.priority < last then
      local place = #line + 1
      while place > 1 and line[place - 1].priority > lane.priority do
        place = place - 1
      end
      insert(line, place, lane)
    end
  end
  return line, #found == wanted
end

-- Runs of equal priority take turns. False where something is not plain.
local function claim(queue, wanted, inline)
  local lanes = opened[queue.name]
  local found = is_still and NONE or call('ZRANGE', queue.ring, 0, wanted - 1)
  if #found == 0 and (not lanes or #lanes == 1) then -- most often: what is ready now is all there is
    local lane = lanes and lanes[1]
    if lane and not take_from(lane, wanted, inline) then
      return false
    elseif lane and not lane.is_spent then
      lines[#lines + 1] = { queue = queue, lanes = lanes }
      roused[#roused + 1] = queue.name
      more = true
    elseif lane then
      lanes.is_done = true
    end
    return true
  end
  local line, is_cut = line_of(found, lanes, wanted)
  local goal, head, all = granted + wanted, 1, {}
  for place = 1, #line do
    all[place] = line[place]
  end
  while line[head] and granted < goal do
    local lane = line[head]
    if not take_from(lane, min(TURN, goal - granted), inline) then
      return false
    end
    head = head + 1
    if not lane.is_spent then
      local place = head
      while line[place] and line[place].priority == lane.priority do
        place = place + 1
      end
      insert(line, place, lane)
      lane.has_turned = true
    end
  end
  if is_cut or line[head] then
    roused[#roused + 1] = queue.name
    more = true
  end
  lines[#lines + 1] = { queue = queue, all = all, line = line, head = head, lanes = lanes }
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
