-- The exchange as it is most of the time: jobs that have completed and others that are ready, of runs in which nothing else has
-- happened, in queues without limits. It looks and decides first (here, and in `plain_claims`), and writes then (`plain_writes`);
-- where it meets what is none of this, it says nothing and has written nothing, and the rest of `exchange` does all of it. It
-- comes to the same with two thirds of the work: it has no tables but those that it needs, and keeps words from call to call.
-- define: NOBODY 4294967295 KNOWN_SETS 16 NOT_READY 27 SMALL 16 FEW 400 MANY 800 ALONE 44 PLAINLY 2
-- define: OPEN 1 SWEPT 2 SIZE 3 WORST 4 LINES 5 CANCELLING 6 ENDED 7 TIMED 8 WORKERS 10 SWEEPING 11 MARKING 13 LATE 14 TAKEN 16

-- Set by the first call: where a library is made there is nothing of the kind.
local call, unpack, tonumber, pairs, type
local floor, min, band, pack, struct_unpack, concat, insert, sub, match, gmatch, rep, format

local function begin()
  call, unpack, tonumber, pairs, type = redis.call, _G.unpack, _G.tonumber, _G.pairs, _G.type
  floor, min, band, pack, struct_unpack = math.floor, math.min, bit.band, struct.pack, struct.unpack
  concat, insert = table.concat, table.insert
  sub, match, gmatch, rep, format = string.sub, string.match, string.gmatch, string.rep, string.format
end

local P, now, fence_mark, turn, seen_by
local runs, seen, soonest, left
local width -- how many records are read at a time: a long string takes long to make
local freed, opened
local granted, holders, jobs_of, inputs_by, fresh
local more, roused, lines
local told -- of the only run, where it was looked at before
local is_still -- whether it is known that nobody stands in line

-- What is made of the same words again and again; functions keep it from call to call.
local sets, sets_count = {}, 0
local suffixes, offsets, forms = { c = {}, e = {}, v = {}, w = {} }, {}, { I4 = {}, BI4H = {} }
local packed_names, names = nil, nil
local NONE = {}

-- ':what:number', the end of a key.
local function suffix_of(what, number)
  local of = suffixes[what]
  local suffix = of[number]
  if not suffix then
    suffix = ':' .. what .. ':' .. number
    if number < BUCKET then
      of[number] = suffix
    end
  end
  return suffix
end

-- Where a record begins, in digits; or, which is a byte too far and does no harm, where the one before it ends.
local function offset_of(place)
  local offset = offsets[place]
  if not offset then
    offset = format('%d', place * RECORD)
    offsets[place] = offset
  end
  return offset
end

-- A format that has *count* times what *of* has.
local function form_of(of, count)
  local list = forms[of]
  local form = list[count]
  if not form then
    form = '<' .. rep(of, count)
    list[count] = form
  end
  return form
end

-- The queues that are asked for, and the keys to look at for them.
local function set_of(queues)
  local name = P .. '\n' .. queues
  local set = sets[name]
  if set then
    return set
  end
  set = { wanted = {}, leases = {}, rare = { P .. 'unswept', P .. 'q:flows:control:ring' }, due = {}, all = {} }
  for queue in gmatch(queues, '[^\n]+') do
    if queue ~= 'flows:control' then
      set[#set + 1] = { name = queue, ring = P .. 'q:' .. queue .. ':ring' }
      set.wanted[queue], set.leases[queue] = true, P .. 'q:' .. queue .. ':leases'
    end
    set.rare[#set.rare + 1] = P .. 'q:' .. queue .. ':suspects'
    set.due[#set.due + 1] = P .. 'q:' .. queue .. ':due'
  end
  for place = 1, #set.due do
    set.rare[#set.rare + 1] = set.due[place]
  end
  for place = 1, #set.rare do
    set.all[place] = set.rare[place]
  end
  for place = 1, #set do
    set.all[#set.all + 1] = set[place].ring
  end
  if sets_count == KNOWN_SETS then
    sets, sets_count = {}, 0
  end
  sets[name], sets_count = set, sets_count + 1
  return set
end

-- Whether there is nothing that belongs to no job at hand. What is delayed and not yet due is told, and no more than that.
local function is_calm(set)
  local rare, due = set.rare, set.due
  if #rare > 200 then
    return false
  elseif call('EXISTS', unpack(rare)) == 0 then
    return true
  elseif call('EXISTS', unpack(rare, 1, #rare - #due)) > 0 then
    return false
  end
  for place = 1, #due do
    local at = tonumber(call('ZRANGE', due[place], 0, 0, 'WITHSCORES')[2])
    if at and at <= now then
      return false
    elseif at and (soonest < 0 or at < soonest) then
      soonest = at
    end
  end
  return true
end

-- A run in which nothing goes on but its jobs; false for others.
local function run_of(id)
  local run = runs[id]
  if run ~= nil then
    return run
  end
  local key = P .. 'r:' .. id
  local found = told or call('HMGET', key, 'course', 'queues', seen_by)
  run, told = false, nil
  if found[1] then
    local course = { struct_unpack(COURSE, found[1]) }
    if course[LINES] + course[CANCELLING] + course[ENDED] == 0 and course[SWEEPING] < 0 and course[MARKING] < 0 and course[LATE] < 0 then
      if found[2] ~= packed_names then
        packed_names, names = found[2], {}
        for name in gmatch(packed_names, '[^\n]+') do
          names[#names + 1] = name
        end
      end
      run = {
        id = id, key = key, course = course, worker = tonumber(found[3]), names = names, jobs = {}, raws = {}, events = {}, told = 0,
        count = 0, is_changed = false, is_new = false, place = false, values = false, written = false, ending = false, wanted = false,
      }
      seen[#seen + 1] = run
    end
  end
  runs[id] = run
  return run
end

local function record_of(run, job)
  local record = run.jobs[job]
  if not record then
    local spot = job % width
    local first = job - spot
    local raw = run.raws[first]
    if not raw then
      local at = first % BUCKET
      raw = call('GETRANGE', run.key .. suffix_of('c', floor(job / BUCKET)), offset_of(at), offset_of(at + width))
      run.raws[first] = raw
    end
    if #raw < (spot + 1) * RECORD then
      return nil
    end
    record = { job, false, struct_unpack(LOAD, raw, spot * RECORD + 1) }
    run.jobs[job] = record
  end
  return record
end

local function touch(run, record)
  if not record[DIRTY] then
    record[DIRTY] = true
    local count = run.count + 1
    run.count = count
    run[count] = record
  end
end

local function note(run, kind, job, attempt)
  local events, at = run.events, run.told
  events[at + 1], events[at + 2], events[at + 3] = kind, job, attempt
  run.told = at + 3
end

-- A job is ready: it stands in a lane that is written only as far as this call does not empty it.
local function open(run, record)
  local queue, priority = run.names[record[QUEUE] + 1], record[PRIORITY]
  local lanes = opened[queue]
  if not lanes then
    lanes = {}
    opened[queue] = lanes
    opened[#opened + 1] = queue
  end
  local lane
  for place = #lanes, 1, -1 do
    if lanes[place].run == run and lanes[place].priority == priority then
      lane = lanes[place]
      break
    end
  end
  if not lane then
    lane = { run = run, priority = priority, index = record[QUEUE], count = 0, used = 0, taken = 0 }
    lanes[#lanes + 1] = lane
  end
  local count = lane.count + 1
  lane.count, lane[count] = count, record
end

-- A child has completed.
local function advance(run, job)
  local record = record_of(run, job)
  if not record or record[STATE] ~= WAITING_CHILDREN or record[MARKS] % 2 == SPARSE then
    return false
  end
  local pending = record[PENDING] - 1
  record[PENDING] = pending
  touch(run, record)
  if pending == 0 then
    if band(record[FLAGS], NOT_READY) ~= 0 or record[FLAGS] >= STAMPED then
      return false
    end
    record[STATE] = WAITING
    open(run, record)
  end
  return true
end

local function advance_all(run, record, edges)
  local at = record[EDGES_AT]
  local packed = call('GETRANGE', run.key .. suffix_of('e', floor(record[JOB] / BUCKET)), at, at + 4 * edges - 1)
  local dependents = { struct_unpack(form_of('I4', edges), packed) }
  for place = 1, edges do
    if not advance(run, dependents[place]) then
      return false
    end
  end
  return true
end

local function keep_value(run, job, name, payload)
  local values = run.values
  if not values then
    values = {}
    run.values, run.written = values, {}
  end
  local bucket = floor(job / VALUES)
  local list = values[bucket]
  if not list then
    list = {}
    values[bucket] = list
  end
  local count = #list
  list[count + 1], list[count + 2] = name, payload
  run.written[job] = payload
end

-- Take settles in order, each with its edges. False where one is none of a job that has completed under the newest fence.
local function take_all(settles, payloads, ids)
  local named, at, from, length = {}, 1, 1, #settles
  for id in gmatch(ids, '%S+') do
    named[#named + 1] = id
  end
  while at <= length do
    local number, job, outcome, _, fence, started, ended, _, size, following = struct_unpack(SETTLE, settles, at)
    local run = outcome == 0 and run_of(named[number + 1])
    local record = run and record_of(run, job)
    if not record or record[FENCE] ~= fence or record[STATE] ~= ACTIVE or record[FLAGS] % 4 > 0 or record[FLAGS] >= STAMPED then
      return false
    end
    local edges, name = record[EDGES], sub(settles, at + 2, at + 5)
    left = left - (edges > 0 and edges or 1)
    if left < 0 or (edges > 0 and band(record[FLAGS], CODES) ~= 0) then
      return false
    end
    local course, queue = run.course, run.names[record[QUEUE] + 1]
    local list = freed[queue]
    if not list then
      list = {}
      freed[queue] = list
    end
    list[#list + 1] = run.id .. ':' .. name
    course[OPEN], course[SWEPT] = course[OPEN] - 1, course[SWEPT] + 1
    record[STATE], record[LENGTH], record[ORDINAL] = COMPLETED, size, course[SWEPT]
    record[STARTED], record[FINISHED] = now - started, now - ended
    run.is_changed = true
    touch(run, record)
    note(run, COMPLETED, job, record[ATTEMPT])
    if size > 0 then
      keep_value(run, job, name, sub(payloads, from, from + size - 1))
      from = from + size
    end
    if edges == 1 then
      if not advance(run, record[EDGES_AT]) then
        return false
      end
    elseif edges > 1 and not advance_all(run, record, edges) then
      return false
    end
    at = following
  end
  return true
end

-- What a job takes from its children, all of which have completed: false where they have not; nil where it is read apart.
local function inputs_of(run, record, inline)
  local count, at, room = record[INPUTS], record[INPUTS_AT], inline - record[ROW_LENGTH]
  if count > 256 then
    return nil
  end
  local inputs
  if count == 1 then
    inputs = { at }
  elseif count > 1 then
    local packed = call('GETRANGE', run.key .. suffix_of('e', floor(record[JOB] / BUCKET)), at, at + 4 * count - 1)
    inputs = { struct_unpack(form_of('I4', count), packed) }
    inputs[count + 1] = nil -- where the unpacking ended
  else
    inputs = NONE
  end
  for place = 1, count do
    local child = record_of(run, inputs[place])
    if not child or child[STATE] ~= COMPLETED then
      return false
    elseif child[FLAGS] % 4 >= LIST then
      return nil
    end
    room = room - child[LENGTH]
  end
  if room < 0 then
    return nil
  end
  return inputs
end

local function grant(run, record, name, inline)
  if record[FLAGS] % 4 > 0 or record[FLAGS] >= STAMPED or record[MARKS] % 2 == SPARSE or record[STATE] ~= WAITING then
    return false
  end
  local inputs = inputs_of(run, record, inline)
  if inputs == false then
    return false
  end
  local worker = run.worker
  if not worker then
    worker = run.course[WORKERS] + 1
    run.course[WORKERS], run.worker, run.is_new, run.is_changed = worker, worker, true, true
  end
  local attempt = record[MADE] + 1
  fence_mark = fence_mark + 1
  granted = granted + 1
  record[STATE], record[FENCE], record[ATTEMPT], record[WORKER] = ACTIVE, fence_mark, attempt, worker
  record[STARTED], record[FINISHED] = now, 0
  touch(run, record)
  note(run, 2, record[JOB], attempt)
  holders[granted], jobs_of[granted], inputs_by[granted] = run, record, inputs
  fresh[granted] = run.id .. ':' .. name
  return true
end
