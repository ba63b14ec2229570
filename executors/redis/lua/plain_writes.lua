-- The plain exchange: all has been decided, and is written and answered.
local function many(command, key, list)
  local count = #list
  for first = 1, count, 900 do
    call(command, key, unpack(list, first, min(count, first + 899)))
  end
end

local function next_turn(priority)
  turn = (turn + 1) % 4294967296
  return format('%d', priority * 4294967296 + turn)
end

-- What is left of lanes that were opened goes where the others are.
local function push(lanes, ring)
  local joining = { 'NX' }
  for number = 1, #lanes do
    local lane, names = lanes[number], {}
    for place = lane.used + 1, lane.count do
      names[#names + 1] = pack('<I4', lane[place][JOB])
    end
    if #names > 0 then
      local member, count = lane.member or member_of(lane), #joining
      many('RPUSH', P .. 'j:' .. member, names)
      if not lane.has_turned then
        joining[count + 1], joining[count + 2] = next_turn(lane.priority), member
        if count > 800 then
          call('ZADD', ring, unpack(joining))
          joining = { 'NX' }
        end
      end
    end
  end
  if #joining > 1 then
    call('ZADD', ring, unpack(joining))
  end
end

local function write_line(its)
  local ring, gone, moved = its.queue.ring, {}, {}
  if its.lanes then
    push(its.lanes, ring)
    its.lanes.is_done = true
  end
  for place = 1, its.used and #its.used or 0 do
    local lane = its.used[place]
    if lane.taken > 0 then
      call('LPOP', P .. 'j:' .. lane.member, lane.taken)
    end
    if lane.member and lane.is_spent then
      gone[#gone + 1] = lane.member
    end
  end
  for place = its.head or 1, its.line and #its.line or 0 do
    local lane = its.line[place]
    if lane.has_turned then
      moved[#moved + 1] = next_turn(lane.priority)
      moved[#moved + 1] = lane.member or member_of(lane)
    end
  end
  many('ZREM', ring, gone)
  many('ZADD', ring, moved)
end

local function write_lanes()
  for place = 1, #lines do
    write_line(lines[place])
  end
  for place = 1, #opened do
    local queue = opened[place]
    if not opened[queue].is_done then -- nobody has claimed of them
      push(opened[queue], P .. 'q:' .. queue .. ':ring')
      roused[#roused + 1] = queue
    end
  end
end

local function write_leases(until_us)
  local by_queue = {}
  for place = 1, granted do
    local run = holders[place]
    local queue = run.names[jobs_of[place][QUEUE] + 1]
    local list = by_queue[queue]
    if not list then
      list = {}
      by_queue[queue] = list
    end
    local count = #list
    list[count + 1], list[count + 2] = until_us, fresh[place]
  end
  for queue, list in pairs(by_queue) do
    many('ZADD', P .. 'q:' .. queue .. ':leases', list)
  end
end

-- Records of neighbours go together.
local function write_records(run)
  local place, count = 1, run.count
  while place <= count do
    local record = run[place]
    local first = record[JOB]
    local final, last = first - first % BUCKET + BUCKET - 1, place
    while last < count and run[last + 1][JOB] == first + last + 1 - place and first + last - place < final do
      last = last + 1
    end
    local key, at = run.key .. suffix_of('c', floor(first / BUCKET)), first % BUCKET * RECORD
    if last == place then
      call('SETRANGE', key, at + STATIC, pack(STORE, unpack(record, STATE, FINISHED)))
    else
      local pieces = {}
      for number = place, last do
        pieces[number - place + 1] = pack(LOAD, unpack(run[number], QUEUE, FINISHED))
      end
      call('SETRANGE', key, at, concat(pieces))
    end
    place = last + 1
  end
end

local function write_run(run, closing)
  if run.count > 0 then
    write_records(run)
  end
  for bucket, values in pairs(run.values or NONE) do
    many('HSET', run.key .. suffix_of('v', bucket), values)
  end
  local course, ending = run.course, run.ending
  if ending then
    course[ENDED] = 1
    local state = course[WORST] == 2 and 'failed' or course[WORST] == 1 and 'cancelled' or 'completed'
    local at, count = format('%d', now), #closing.told
    local keep = tonumber(ending[state == 'completed' and 1 or 2]) or 0
    call('HSET', run.key, 'course', pack(COURSE, unpack(course)), 'ended', at, 'state', state)
    if course[TIMED] == 1 then
      call('ZREM', P .. 'deadlines', run.id)
    end
    if ending[3] then
      local until_free = now + (tonumber(ending[4]) or 0) - closing.shift
      call('PEXPIREAT', P .. 'k:' .. ending[3], format('%.0f', floor(until_free / 1000)))
    end
    local named = closing.named[ending[6]]
    if not named then
      named = {}
      closing.named[ending[6]] = named
    end
    named[#named + 1], named[#named + 2] = at, run.id
    closing.told[count + 1], closing.told[count + 2] = run.id, state
    closing.dues[count + 1], closing.dues[count + 2] = format('%.0f', now + keep), run.id
    note(run, 13, NOBODY, 0)
  elseif run.is_new then
    call('HSET', run.key, 'course', pack(COURSE, unpack(course)), seen_by, run.worker)
  elseif run.is_changed then
    call('HSET', run.key, 'course', pack(COURSE, unpack(course)))
  end
end

local function write_runs(shift)
  local closing = { dues = {}, told = {}, named = {}, shift = shift }
  for place = 1, #seen do
    write_run(seen[place], closing)
  end
  if #closing.told > 0 then
    for name, ended in pairs(closing.named) do
      many('ZADD', P .. 'n:' .. name, ended)
      call('SADD', P .. 'names', name)
    end
    many('ZADD', P .. 'retire', closing.dues)
    call('XADD', P .. 'ended', 'MAXLEN', '~', '10000', '*', unpack(closing.told))
  end
end

local function write_events()
  local fields = {}
  for place = 1, #seen do
    local run = seen[place]
    if run.told > 0 then
      local pieces = {}
      for first = 1, run.told, 600 do
        local last = min(run.told, first + 599)
        pieces[#pieces + 1] = pack(form_of('BI4H', (last - first + 1) / 3), unpack(run.events, first, last))
      end
      fields[#fields + 1] = run.id
      fields[#fields + 1] = #pieces == 1 and pieces[1] or concat(pieces)
    end
  end
  if #fields > 0 then
    call('XADD', P .. 'events', 'MAXLEN', '~', '10000', '*', 'at', format('%d', now), unpack(fields))
  end
end

-- The rows of jobs of a run, in a bucket together where they are neighbours.
local function read_rows(run, jobs, rows)
  local count, place = #jobs, 1
  while place <= count do
    local first, last = jobs[place], place
    local bucket = floor(first / BUCKET)
    local base = bucket * BUCKET
    while last < count and jobs[last + 1] > jobs[last] and jobs[last + 1] <= jobs[last] + 4 and jobs[last + 1] < base + BUCKET do
      last = last + 1
    end
    local span = jobs[last] - first + 2
    local key, at = run.key .. suffix_of('w', bucket), 4 * (first - base)
    local begins, bytes, from
    if run.course[SIZE] <= SMALL then -- most often all of it is short
      bytes, from = call('GETRANGE', key, '0', '2047'), 0
      begins = { struct_unpack(form_of('I4', span), bytes, at + 1) }
    else
      begins = { struct_unpack(form_of('I4', span), call('GETRANGE', key, at, at + 4 * span - 1)) }
    end
    if not bytes or begins[span] > #bytes then
      bytes, from = call('GETRANGE', key, begins[1], begins[span] - 1), begins[1]
    end
    for number = place, last do
      local job = jobs[number]
      local spot = job - first + 1
      local row = sub(bytes, begins[spot] - from + 1, begins[spot + 1] - from)
      rows[job] = row ~= '' and row or call('HGET', run.key .. ':b', pack('<I4', job))
    end
    place = last + 1
  end
end

-- Results that come along and were stored by earlier calls.
local function read_values(run, jobs, payloads)
  local buckets = {}
  for place = 1, #jobs do
    local bucket = floor(jobs[place] / VALUES)
    local list = buckets[bucket] or { jobs = {} }
    buckets[bucket] = list
    list[#list + 1] = pack('<I4', jobs[place])
    list.jobs[#list] = jobs[place]
  end
  for bucket, list in pairs(buckets) do
    for first = 1, #list, 900 do
      local found = call('HMGET', run.key .. suffix_of('v', bucket), unpack(list, first, min(#list, first + 899)))
      for place = 1, #found do
        payloads[list.jobs[first + place - 1]] = found[place]
      end
    end
  end
end

-- Reads what comes along with grants: rows and payloads, by run.
local function read_all(order)
  for place = 1, granted do
    local run, inputs = holders[place], inputs_by[place]
    if not run.wanted then
      run.wanted, run.rows, run.asked = {}, {}, {}
    end
    if inputs then
      run.wanted[#run.wanted + 1] = jobs_of[place][JOB]
      for number = 1, #inputs do
        local child = inputs[number]
        if run.jobs[child][LENGTH] > 0 and not (run.written and run.written[child]) then
          run.asked[#run.asked + 1] = child
        end
      end
    end
  end
  for place = 1, #order do
    local run = order[place]
    run.payloads = {}
    read_rows(run, run.wanted, run.rows)
    if #run.asked > 0 then
      read_values(run, run.asked, run.payloads)
    end
  end
end

-- What is granted in numbers, and the runs in their order.
local function numbers_of()
  local numbers, order, ids = {}, {}, {}
  for place = 1, granted do
    local run, record = holders[place], jobs_of[place]
    if not run.place then
      run.place = #order
      order[#order + 1] = run
      ids[#ids + 1] = run.id
    end
    numbers[place] = pack(GRANT, run.place, record[JOB], record[ATTEMPT], 0, record[FENCE])
  end
  return numbers, order, concat(ids, ' ')
end

local function answer(head, numbers, order, ids)
  local headers, deadlines = {}, {}
  for place = 1, #order do
    local run = order[place]
    headers[place] = ''
    local deadline = run.course[TIMED] == 1 and call('ZSCORE', P .. 'deadlines', run.id)
    if deadline then
      deadlines[#deadlines + 1] = run.id
      deadlines[#deadlines + 1] = deadline
    end
    if run.is_new and (run.course[SIZE] <= SMALL or call('HSTRLEN', run.key, 'header') <= 4096) then -- else it is fetched apart
      local header = call('HGET', run.key, 'header')
      headers[place] = #header <= 4096 and header or ''
    end
  end
  if granted > 0 then
    read_all(order)
  end
  local parts, bodies, last = { head }, {}, 1
  for place = 1, granted do
    local run, inputs = holders[place], inputs_by[place]
    local row = inputs and run.rows[jobs_of[place][JOB]]
    parts[last + 1] = numbers[place]
    parts[last + 2] = pack(WITH_IT, 0, row and #row or NOBODY, row and #inputs or 0)
    last = last + 2
    if row then
      bodies[#bodies + 1] = row
      for number = 1, #inputs do
        local child = run.jobs[inputs[number]]
        last = last + 1
        parts[last] = pack(INPUT, child[JOB], COMPLETED, 0, child[LENGTH])
        if child[LENGTH] > 0 then
          bodies[#bodies + 1] = run.written and run.written[child[JOB]] or run.payloads[child[JOB]]
        end
      end
    end
  end
  return { concat(parts), concat(bodies), ids, headers, deadlines }
end

return function(meta, loop, seq, worker, lease, limit, suspects, at_once, inline, chunk, ids, settles, payloads, queues)
  if not call then
    begin()
  end
  P, seen_by = sub(meta, 1, -5), 'w:' .. worker
  local moment = call('TIME')
  local settings = call('HMGET', meta, 'shift', 'mark', 'turn', 'limited')
  local loop_key, shift = P .. 'l:' .. loop, tonumber(settings[1]) or 0
  now = moment[1] * 1000000 + moment[2] + shift
  seq, limit, soonest = tonumber(seq), tonumber(limit), -1
  local last = call('GET', loop_key)
  local set = set_of(queues)
  if settings[4] or (last and seq <= struct_unpack('<d', last)) then
    return nil
  end
  fence_mark = math.max(tonumber(settings[2]) or 0, now)
  told = nil
  is_still = #settles == ALONE and #set.all <= 200 and call('EXISTS', unpack(set.all)) == 0
  if is_still and limit > 0 then
    local said = link(meta, loop_key, seq, shift, tonumber(lease), tonumber(inline), ids, settles, payloads, set)
    if said then
      return said
    end
  elseif not is_still and not is_calm(set) then
    return nil
  end
  call('DEL', P .. 'nowhere') -- see the prelude
  turn = tonumber(settings[3]) or 0
  runs, seen, left, width = {}, {}, tonumber(chunk), #settles > FEW and BLOCK or 4
  freed, opened, roused, lines, more = {}, {}, {}, {}, false
  granted, holders, jobs_of, inputs_by, fresh = 0, {}, {}, {}, {}
  local first_turn = turn
  local is_plain = (#settles == 0 or take_all(settles, payloads, ids)) and (limit == 0 or claim_all(set, limit, tonumber(inline))) and end_all()
  if not is_plain then
    return nil
  end
  for queue, list in pairs(freed) do
    many('ZREM', P .. 'q:' .. queue .. ':leases', list)
  end
  write_lanes()
  if granted > 0 then
    write_leases(format('%d', now + tonumber(lease)))
  end
  write_runs(shift)
  if turn ~= first_turn then
    call('HSET', meta, 'turn', format('%d', turn), 'mark', format('%d', fence_mark))
  elseif granted > 0 then
    call('HSET', meta, 'mark', format('%d', fence_mark))
  end
  write_events()
  for place = 1, #roused do
    call('ZADD', P .. 'q:' .. roused[place] .. ':wake', '0', '1')
  end
  local how = (more and 1 or 0) + PLAINLY
  for place = 1, granted do
    if not inputs_by[place] then -- it is read apart
      how = how % PLAINLY
    end
  end
  local head = pack('<ddBHH', now, soonest, how, granted, 0)
  local numbers, order, named = numbers_of()
  call('SET', loop_key, pack('<dI4I4H', seq, #head, #named, granted) .. head .. named .. concat(numbers), 'EX', '3600')
  return answer(head, numbers, order, named)
end
