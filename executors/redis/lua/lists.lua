-- Lists: how their items become jobs. The rows of a list's items lie in blocks that are set apart when it is expanded; the jobs
-- of an item are written, out of the body's mould, when the list has room for it.
-- define: STAMPED 128 RESTATED 25 THE_LIST 4294967295
-- rare: numbers_at body_of list_of packed_numbers keep_list cover base_of spot_of keep_item expand keep_tail join put_job stamp room_in grow write_tails write_lists
local PART = '<HHHI4I4HI4I4'
local KNOWN = '<HI4HI4'

local function numbers_at(packed, at, count_of, format)
  local found = {}
  for first = 1, count_of, 200 do
    local wanted = min(200, count_of - first + 1)
    local part = { struct_unpack('<' .. string.rep(format, wanted), packed, at + 4 * (first - 1)) }
    for place = 1, wanted do
      found[first + place - 1] = part[place]
    end
  end
  return found
end

-- A body's mould: the columns of its own jobs.
local function body_of(run, number)
  local body = run.bodies[number]
  if body then
    return body
  end
  local packed = call('HGET', run.key, 'body:' .. number)
  local size, limit, root, drops, outers, at = struct_unpack('<I4i4I4BI4', packed)
  body = { size = size, limit = limit, outer = {}, parts = {} }
  for place = 1, outers do
    local link, dependent, code
    link, dependent, code, at = struct_unpack('<I4I4B', packed, at)
    body.outer[place] = { link + 1, dependent, code }
  end
  for one = 1, size do
    local part, edges, inputs = {}, 0, 0
    part.queue, part.limit, part.flags, part.priority, part.delay, part.pending, edges, inputs, at = struct_unpack(PART, packed, at)
    part.edges = numbers_at(packed, at, edges, 'I4')
    at = at + 4 * edges
    if band(part.flags, CODES) ~= 0 then
      part.codes = string.sub(packed, at, at + edges - 1)
      at = at + edges
    end
    part.inputs = numbers_at(packed, at, inputs, 'I4')
    at = at + 4 * inputs
    body.parts[one] = part
  end
  run.bodies[number] = body
  return body
end

-- What is known of a list's items; nil if that is nothing.
local function list_of(run, job)
  local list = run.lists[job]
  if list then
    return list
  end
  local packed = call('HGET', run.key .. ':l', name_of(run, job))
  if not packed then
    return nil
  end
  local body, biggest, segments, links, at = struct_unpack(KNOWN, packed)
  list = { job = job, number = body, biggest = biggest, segments = numbers_at(packed, at, 2 * segments, 'I4'), covered = 0 }
  for place = 2, 2 * segments, 2 do
    list.covered = list.covered + list.segments[place]
  end
  list.packed_links = string.sub(packed, at + 8 * segments)
  list.links = numbers_at(list.packed_links, 1, links, 'i4')
  run.lists[job] = list
  return list
end

local function packed_numbers(format, numbers)
  local parts = {}
  for first = 1, #numbers, 200 do
    local last = min(#numbers, first + 199)
    parts[#parts + 1] = pack('<' .. string.rep(format, last - first + 1), unpack(numbers, first, last))
  end
  return concat(parts)
end

local function keep_list(run, list)
  local packed = pack(KNOWN, list.number, list.biggest, #list.segments / 2, #list.packed_links / 4)
  run.changed_lists = run.changed_lists or {}
  local changed = run.changed_lists
  changed[#changed + 1] = name_of(run, list.job)
  changed[#changed + 1] = packed .. packed_numbers('I4', list.segments) .. list.packed_links
end

-- See that rows are set apart for *items*; those of an earlier expansion keep their places.
local function cover(run, record, items)
  local list = list_of(run, record[JOB])
  if not list then
    list = { job = record[JOB], number = record[LIMIT], biggest = 0, segments = {}, covered = 0, packed_links = '', links = {} }
    run.lists[record[JOB]] = list
  end
  if items > list.covered then
    local segments, missing = list.segments, items - list.covered
    segments[#segments + 1] = run.size
    segments[#segments + 1] = missing
    list.covered = items
    run.size = run.size + missing * body_of(run, list.number).size
  end
  return list
end

-- The first row of an item.
local function base_of(run, list, position)
  local size, segments = body_of(run, list.number).size, list.segments
  for place = 1, #segments, 2 do
    if position < segments[place + 1] then
      return segments[place] + position * size
    end
    position = position - segments[place + 1]
  end
end

-- Which item a row belongs to, and the first row of that.
local function spot_of(run, list, job)
  local size, segments, before = body_of(run, list.number).size, list.segments, 0
  for place = 1, #segments, 2 do
    local within = job - segments[place]
    if within >= 0 and within < segments[place + 1] * size then
      return before + floor(within / size), job - within % size
    end
    before = before + segments[place + 1]
  end
end

local function keep_item(run, base, payload)
  local bucket = floor(base / VALUES)
  local items = run.items[bucket]
  if not items then
    items = {}
    run.items[bucket] = items
  end
  items[#items + 1] = name_of(run, base)
  items[#items + 1] = payload
end

-- The active list's items are known: it waits for them, and ends with the last of them.
local function expand(run, record, payload)
  if run.cancelling then
    settle(run, record, CANCELLED)
    return
  end
  local items, biggest, links, inline, at = struct_unpack('<I4I4I4B', payload)
  local list = cover(run, record, items)
  list.biggest = biggest
  list.packed_links = string.sub(payload, at, at + 4 * links - 1)
  list.links = numbers_at(list.packed_links, 1, links, 'i4')
  at = at + 4 * links
  if inline == 1 then
    local from = at + 4 * items
    for place = 0, items - 1 do
      local length = struct_unpack('<I4', payload, at + 4 * place)
      keep_item(run, base_of(run, list, place), string.sub(payload, from, from + length - 1))
      from = from + length
    end
  end
  keep_list(run, list)
  local extra = extra_of(run, record, true)
  extra.items, extra.begun = items, 0
  record[PENDING], record[LENGTH] = items, 0
  note(run, TOLD.expanded, record)
  if items > 0 then
    record[STATE] = WAITING_CHILDREN
    want_growth(run, record)
  else
    settle(run, record, COMPLETED)
  end
end

-- Where the tail of numbers of a bucket's jobs goes on; answers where they will stand.
local function keep_tail(run, job, packed)
  local bucket = floor(job / BUCKET)
  local tail = run.tails[bucket]
  if not tail then
    tail = { at = call('STRLEN', run.key .. ':e:' .. bucket) }
    run.tails[bucket] = tail
  end
  local at = tail.at
  tail[#tail + 1] = packed
  tail.at = at + #packed
  return at
end

-- An edge from a job that is being done again to one that has just been stamped out.
local function join(run, child, dependent, code)
  local targets, codes = {}, ''
  for position = 0, child[EDGES] - 1, 400 do
    local part, part_codes = edges_of(run, child, position, 400)
    for place = 1, #part do
      if part[place] == dependent then
        return
      end
      targets[#targets + 1] = part[place]
    end
    codes = codes .. (part_codes or string.rep('\0', #part))
  end
  targets[#targets + 1] = dependent
  child[FLAGS] = bor(child[FLAGS], CODES)
  child[EDGES] = #targets
  child[EDGES_AT] = keep_tail(run, child[JOB], packed_numbers('I4', targets) .. codes .. string.char(code))
  write_tails(run)
  child[RESTATED] = true
  touch(run, child)
end

local function put_job(run, list, part, base, job, size)
  local edges, inputs = {}, {}
  for place, target in ipairs(part.edges) do
    edges[place] = target == THE_LIST and list.job or base + target
  end
  for _, place in ipairs(part.inputs) do
    local row = place < size and base + place or place > size and list.links[place - size] or -1
    if row >= 0 then
      inputs[#inputs + 1] = row
    end
  end
  local edges_at, inputs_at = 0, 0
  if part.codes then
    edges_at = keep_tail(run, job, packed_numbers('I4', edges) .. part.codes)
  elseif #edges > 0 then
    edges_at = #edges == 1 and edges[1] or keep_tail(run, job, packed_numbers('I4', edges))
  end
  if #inputs > 0 then
    inputs_at = #inputs == 1 and inputs[1] or keep_tail(run, job, packed_numbers('I4', inputs))
  end
  if part.delay > 0 then
    call('HSET', run.key .. ':d', name_of(run, job), whole(part.delay * 1000))
  end
  local record = {
    job, false, part.queue, part.limit, part.flags, part.priority, list.job, edges_at, #edges, inputs_at, #inputs,
    WAITING_CHILDREN, 0, 0, 0, 0, part.pending, 0, 0, 0, 0, 0, 0, 0, true,
  }
  run.jobs[job], run.extras[job] = record, nil
  touch(run, record)
end

local function stamp(run, list, body, position)
  local base, size = base_of(run, list, position), body.size
  for one = 1, size do
    put_job(run, list, body.parts[one], base, base + one - 1, size)
  end
  run.open = run.open + size
  for _, edge in ipairs(body.outer) do
    local row, dependent = list.links[edge[1]], record_of(run, base + edge[2])
    local child = row >= 0 and record_of(run, row)
    if not child then
      dependent[PENDING] = dependent[PENDING] - 1
    elseif child[ORDINAL] > 0 then
      dependent[PENDING] = dependent[PENDING] - 1
      count(run, child, dependent, edge[3])
    else
      join(run, child, dependent[JOB], edge[3])
    end
  end
  for job = base, base + size - 1 do
    local record = record_of(run, job)
    if run.cancelling then
      end_below(run, record, CANCELLED)
    elseif record[PENDING] == 0 or record[MARKS] % 2 == SPARSE then
      decide(run, record)
    end
  end
end

-- How many further items of a list may be stamped out now.
local function room_in(extra, record, body)
  if record[STATE] ~= WAITING_CHILDREN or extra.items < 0 then
    return 0
  end
  local to_come = extra.items - extra.begun
  return body.limit < 0 and to_come or min(to_come, body.limit - (record[PENDING] - to_come))
end

-- Stamp out items of the lists that may have room; false if there is no such list.
local function grow(run)
  local line = line_of(run, 'grow')
  local job = line[line.head]
  if not job then
    run.is_growing = not line.whole
    left = line.whole and left or 0
    return not line.whole
  end
  while job and left > 0 do
    local record = record_of(run, job)
    local list, extra = list_of(run, job), extra_of(run, record, true)
    local body = body_of(run, list.number)
    local room = room_in(extra, record, body)
    while room > 0 and left > 0 do
      extra.begun = extra.begun + 1
      stamp(run, list, body, extra.begun - 1)
      left, room = left - body.size, room - 1
      touch(run, record)
    end
    if room > 0 then
      break
    end
    line.head = line.head + 1
    run.grows[job] = nil
    job = line[line.head]
  end
  run.is_growing = job ~= nil
  write_tails(run) -- the sweep that follows may need them
  return true
end

local function write_tails(run)
  for bucket, tail in pairs(run.tails) do
    call('APPEND', run.key .. ':e:' .. bucket, concat(tail))
  end
  run.tails = {}
end

local function write_lists(run)
  if next(run.tails) then
    write_tails(run)
  end
  for bucket, items in pairs(run.items) do
    many('HSET', run.key .. ':i:' .. bucket, items, 2)
    run.items[bucket] = nil
  end
  if run.changed_lists then
    many('HSET', run.key .. ':l', run.changed_lists, 2)
    run.changed_lists = nil
  end
end
