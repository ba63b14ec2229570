-- Claims: who gets which jobs, under which fence, for how long; and all that a worker must know to do them.
-- define: CONTROLLED 2 GATE 4 RATED 8
-- define: GRANT '<HI4HBd' WITH_IT '<dI4H' INPUT '<I4BBI4'
-- rare: place_of told_place

local grants = {}
fence_mark = max(fence_mark, now)

-- The worker is new to the run: it gets a number there, and is told the run's header.
local function worker_number(run)
  local number = run.workers + 1
  run.worker, run.workers, run.is_new = number, number, true
  tell_apart(run, seen_by, number)
  return number
end

local function grant(run, record, flags)
  fence_mark = fence_mark + 1
  local attempt = 1
  if is_control(record) then
    flags = flags + CONTROLLED
    if record[FLAGS] % 2 == GATED and band(record[MARKS], PASSED) == 0 then
      flags = flags + GATE
    end
  else
    attempt = record[MADE] + 1
    record[STARTED], record[FINISHED], record[ATTEMPT] = now, 0, attempt
    note(run, TOLD.started, record)
    if is_limited then
      local queue = home_of(run, record)
      local limit = limit_of(queue)
      handed[queue] = (handed[queue] or 0) + 1
      flags = limit and limit.starts > 0 and flags + RATED or flags
    end
  end
  record[STATE], record[FENCE], record[ATTEMPT] = ACTIVE, fence_mark, attempt
  record[WORKER] = run.worker or worker_number(run)
  touch(run, record)
  local count = granted + 1
  granted = count
  grants[count] = { run = run, record = record, flags = flags, fence = fence_mark, attempt = attempt, inputs = false }
end

local function write_leases(until_us)
  local by_queue, order = {}, {}
  until_us = whole(until_us)
  for place = 1, granted do
    local one = grants[place]
    local queue = home_of(one.run, one.record)
    local list = by_queue[queue]
    if not list then
      list = { count = 0 }
      by_queue[queue] = list
      order[#order + 1] = queue
    end
    local count = list.count
    list[count + 1] = until_us
    list[count + 2] = member_of(one.run, one.record[JOB])
    list.count = count + 2
    if one.flags >= RATED then
      call('ZADD', starts_key(queue), '+inf', start_named(one.run, one.record))
      call('PERSIST', starts_key(queue))
    end
  end
  for _, queue in ipairs(order) do
    many('ZADD', of_queue(queue, 'leases'), by_queue[queue], 2)
  end
end

local function children_of(run, record)
  local count_of = record[INPUTS]
  if count_of == 1 then
    return { record[INPUTS_AT] }
  end
  local at = record[INPUTS_AT]
  local packed = call('GETRANGE', run.key .. ':e:' .. floor(record[JOB] / BUCKET), at, at + 4 * count_of - 1)
  local children = u32s(packed, 1, count_of)
  children[count_of + 1] = nil
  return children
end

local NOTHING = {}

-- What a job takes from its children: for each its state, and whose payload tells its result or failure.
local function inputs_of(run, record, room)
  if record[INPUTS] == 0 then
    return NOTHING, room
  elseif record[INPUTS] > 256 then
    return nil, 0
  end
  local children = children_of(run, record)
  local extra = extra_of(run, record)
  local cut = extra and extra.cut or 0
  local inputs = {}
  for place, job in ipairs(children) do
    local child = record_of(run, job)
    if child[FLAGS] % 4 >= LIST then
      return nil, 0 -- its value is made of many: that is done apart
    end
    local input = { job = job, state = child[STATE], first = 0, length = 4294967295 }
    inputs[place] = input
    if cut > 0 and (child[ORDINAL] == 0 or child[ORDINAL] > cut) then
      input.state = min(child[STATE], ACTIVE)
    elseif child[STATE] >= COMPLETED then
      local teller = child
      if child[STATE] ~= COMPLETED and band(child[MARKS], OWN) == 0 then
        local sparse = extra_of(run, child)
        teller = sparse and sparse.first >= 0 and child[STATE] ~= CANCELLED and record_of(run, sparse.first) or nil
      end
      if teller then
        if teller ~= child then
          input.first = teller[STATE]
        end
        input.length, input.teller = teller[LENGTH], teller[JOB]
        room = room - teller[LENGTH]
      end
    end
  end
  return inputs, room
end

-- Read fields of the run's hashes *what*, one call a hash; found[job] is the field's value.
local function gather(run, what, jobs)
  local by_bucket, found = {}, {}
  for place = 1, #jobs do
    local job = jobs[place]
    local bucket = floor(job / VALUES)
    local list = by_bucket[bucket]
    if not list then
      list = { jobs = {}, count = 0 }
      by_bucket[bucket] = list
    end
    local count = list.count + 1
    list.count, list[count], list.jobs[count] = count, name_of(run, job), job
  end
  for bucket, list in pairs(by_bucket) do
    local values = fetch(run.key .. ':' .. what .. ':' .. bucket, list)
    for place = 1, list.count do
      found[list.jobs[place]] = values[place]
    end
  end
  return found
end

-- Where a stamped job stands, the outermost list first; and how many bytes telling it takes at most.
local function place_of(run, record)
  local levels, bytes = {}, 0
  while record[FLAGS] >= STAMPED do
    local list = list_of(run, record[ROW_LENGTH])
    local position, base = spot_of(run, list, record[JOB])
    table.insert(levels, 1, { list = list, position = position, base = base })
    bytes = bytes + list.biggest + #list.packed_links + 20
    record = record_of(run, list.job)
  end
  return levels, bytes
end

-- Levels in numbers; the items are added to *bodies*.
local function told_place(levels, items, bodies)
  local parts = { pack('<B', #levels) }
  for place, level in ipairs(levels) do
    local item, links = items[level.base] or '', level.list.packed_links
    parts[place + 1] = pack('<I4HI4I4I4I4', level.list.job, level.list.number, level.position, level.base, #item, #links / 4) .. links
    bodies[#bodies + 1] = item
  end
  return concat(parts)
end

-- What is granted, in numbers, and the ids of the runs: enough to say it again.
local function numbers_of(list, count)
  local ids, index, numbers = {}, {}, {}
  for place = 1, count do
    local one = list[place]
    local run = one.run
    local number = index[run]
    if not number then
      number = #ids
      index[run] = number
      ids[number + 1] = run.id
    end
    numbers[place] = pack(GRANT, number, one.record[JOB], one.attempt, one.flags, one.fence)
  end
  return numbers, concat(ids, ' ')
end

-- The jobs whose data comes along: all whose row and inputs are small.
local function choose(list, count, inline)
  local rows, payloads, items, order = {}, {}, {}, {}
  for place = 1, count do
    local one = list[place]
    local run, record = one.run, one.record
    if not rows[run] then
      rows[run], payloads[run], items[run] = {}, {}, {}
      order[#order + 1] = run
    end
    local levels, size
    if record[FLAGS] >= STAMPED then
      levels, size = place_of(run, record)
    end
    local inputs, room = inputs_of(run, record, inline - (size or record[ROW_LENGTH]))
    if inputs and room >= 0 then
      one.inputs, one.levels = inputs, levels
      local of_run = levels and items[run] or rows[run]
      for _, level in ipairs(levels or NOTHING) do
        of_run[#of_run + 1] = level.base
      end
      if not levels then
        of_run[#of_run + 1] = record[JOB]
      end
      for number = 1, #inputs do
        local input = inputs[number]
        if input.teller and input.length > 0 and not run.fresh[input.teller] then
          local told = payloads[run]
          told[#told + 1] = input.teller
        end
      end
    end
  end
  for _, run in ipairs(order) do
    rows[run], payloads[run] = rows_of(run, rows[run]), gather(run, 'v', payloads[run])
    items[run] = gather(run, 'i', items[run])
  end
  return rows, payloads, items, order
end

-- The answer to a claim: numbers, payloads one after the other, ids of runs, headers of runs that are new to the worker, ids and
-- deadlines of those that have one.
local function answer(head, list, count, numbers, ids, inline)
  local rows, payloads, items, order = choose(list, count, inline)
  local headers, deadlines = {}, {}
  for place, run in ipairs(order) do
    headers[place] = ''
    local deadline = run.timed == 1 and call('ZSCORE', P .. 'deadlines', run.id)
    if deadline then
      deadlines[#deadlines + 1] = run.id
      deadlines[#deadlines + 1] = deadline
    end
    if run.is_new and call('HSTRLEN', run.key, 'header') <= 4096 then
      headers[place] = call('HGET', run.key, 'header')
    end
  end
  local parts, bodies, last = { head }, {}, 1
  for place = 1, count do
    local one = list[place]
    local run, record, inputs = one.run, one.record, one.inputs
    local row = inputs and (one.levels and '' or rows[run][record[JOB]])
    local extra = record[MARKS] % 2 == SPARSE and extra_of(run, record)
    parts[last + 1] = numbers[place]
    last = last + 2
    if row then
      if one.levels then
        parts[last] = pack(WITH_IT, extra and extra.since or 0, 4294967294, #inputs) .. told_place(one.levels, items[run], bodies)
      else
        parts[last] = pack(WITH_IT, extra and extra.since or 0, #row, #inputs)
        bodies[#bodies + 1] = row
      end
      for number = 1, #inputs do
        local input = inputs[number]
        last = last + 1
        parts[last] = pack(INPUT, input.job, input.state, input.first, input.length)
        if input.teller and input.length > 0 then
          bodies[#bodies + 1] = run.fresh[input.teller] or payloads[run][input.teller]
        end
      end
    else
      parts[last] = pack(WITH_IT, extra and extra.since or 0, 4294967295, 0)
    end
  end
  return { concat(parts), concat(bodies), ids, headers, deadlines }
end
