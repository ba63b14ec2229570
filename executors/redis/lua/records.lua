-- Runs and their jobs as this call sees them: loaded once, changed here, written back by `write_records`.
-- A record is an array, made by one call and read without hashing.
-- define: RECORD 76 STATIC 30 BLOCK 16
-- define: JOB 1 DIRTY 2 QUEUE 3 LIMIT 4 FLAGS 5 PRIORITY 6 ROW_LENGTH 7 EDGES_AT 8 EDGES 9 INPUTS_AT 10 INPUTS 11
-- define: STATE 12 MARKS 13 MADE 14 ATTEMPT 15 LOST 16 PENDING 17 ORDINAL 18 FENCE 19 LENGTH 20 WORKER 21 STARTED 22 FINISHED 23
-- define: GATED 1 LIST 2 SHARES 4 LIFO 8 DELAY 16 CODES 32 ROOT 64
-- define: LOAD '<HHHI4I4I4I4I4I4BBHHHi4I4dI4Hdd' STORE '<BBHHHi4I4dI4Hdd' STATED '<HHHI4I4I4I4I4I4'
-- define: EXTRA '<I4I4I4I4i4i4I4i4I4Hdd' COURSE '<I4I4I4BBBBBBHi4I4i4i4I4B'
-- define: SPARSE 1 PASSED 2 REPLAYED 4 OWN 8
-- rare: member_parts static
local band, bor = bit.band, bit.bor

local runs, seen_runs = {}, {}
local seen_by = 'w:' -- of a worker: its number in the run, known with the run
local is_plain = true -- whether all that this call has seen is jobs that have completed, outside of lists

local function run_of(id)
  local run = runs[id]
  if run ~= nil then
    return run
  end
  local key = P .. 'r:' .. id
  local found = call('HMGET', key, 'course', 'queues', seen_by)
  if not found[1] then
    runs[id] = false
    return false
  end
  local open, swept_turn, size, worst, lines, cancelling, ended, timed, fast, workers, sweeping, position, marking, late, own, taken =
    struct_unpack(COURSE, found[1])
  run = {
    id = id, key = key, prefix = id .. ':', size = size, packed_queues = found[2], worker = tonumber(found[3]), workers = workers,
    open = open, turn = swept_turn, worst = worst, unswept = lines > 0, is_growing = lines == 2, own = own, cancelling = cancelling == 1, ended = ended == 1,
    timed = timed, fast = fast, taken = taken, sweeping = sweeping, position = position, marking = marking, late = late,
    jobs = {}, blocks = {}, names = {}, members = {}, changed = {}, changes = 0, extras = {}, changed_extras = {},
    values = {}, lanes = {}, buckets = {}, events = {}, told = 0, appended_later = {}, appended_cascade = {}, appended_grow = {},
    bodies = {}, lists = {}, items = {}, tails = {}, grows = {}, fresh = {},
  }
  run.in_work = run.unswept or sweeping >= 0 or marking >= 0 or late >= 0
  runs[id] = run
  seen_runs[#seen_runs + 1] = run
  return run
end

local function write_course(run)
  local course = pack(
    COURSE, run.open, run.turn, run.size, run.worst, run.unswept and (run.is_growing and 2 or 1) or 0, run.cancelling and 1 or 0, run.ended and 1 or 0,
    run.timed, run.fast, run.workers, run.sweeping, run.position, run.marking, run.late, run.own, run.taken
  )
  local told = run.told_apart
  if told then
    run.told_apart = nil
    call('HSET', run.key, 'course', course, unpack(told))
  else
    call('HSET', run.key, 'course', course)
  end
end

-- A field to be written with the course of the run.
local function tell_apart(run, field, value)
  local told = run.told_apart or {}
  run.told_apart = told
  told[#told + 1] = field
  told[#told + 1] = value
end

local function queue_name(run, index)
  if index == CONTROL then
    return CONTROL_QUEUE
  end
  local names = run.queues
  if not names then
    names = {}
    for name in string.gmatch(run.packed_queues, '[^\n]+') do
      names[#names + 1] = name
    end
    run.queues = names
  end
  return names[index + 1]
end

local function bucket_key(run, bucket)
  local key = run.buckets[bucket]
  if not key then
    key = run.key .. ':c:' .. bucket
    run.buckets[bucket] = key
  end
  return key
end

-- Four bytes that stand for a job, in lists and as a field: making a decimal of a number takes longer than a call.
local function name_of(run, job)
  local name = run.names[job]
  if not name then
    name = pack('<I4', job)
    run.names[job] = name
  end
  return name
end

-- How leases, suspects and delays name a job.
local function member_of(run, job)
  local member = run.members[job]
  if not member then
    member = run.prefix .. name_of(run, job)
    run.members[job] = member
  end
  return member
end

-- The run and the job that a member stands for.
local function member_parts(member)
  return string.sub(member, 1, -6), struct_unpack('<I4', member, #member - 3)
end

-- Records come in blocks: neighbours are wanted together more often than not.
local function raw_of(run, block)
  local raw = run.blocks[block]
  if not raw then
    local bucket = floor(block * BLOCK / BUCKET)
    local at = (block * BLOCK - bucket * BUCKET) * RECORD
    raw = call('GETRANGE', bucket_key(run, bucket), at, at + BLOCK * RECORD - 1)
    if #raw < BLOCK * RECORD then -- the end of the run, or rows that are set apart for items
      raw = raw .. string.rep('\0', BLOCK * RECORD - #raw)
    end
    run.blocks[block] = raw
  end
  return raw
end

local function record_of(run, job)
  local record = run.jobs[job]
  if not record then
    local block = floor(job / BLOCK)
    record = { job, false, struct_unpack(LOAD, raw_of(run, block), (job - block * BLOCK) * RECORD + 1) }
    run.jobs[job] = record
  end
  return record
end

local function touch(run, record)
  if not record[DIRTY] then
    record[DIRTY] = true
    local count = run.changes + 1
    run.changes = count
    run.changed[count] = record
  end
end

-- The sparse columns of a job; nil if it has none and *make* is not set.
local function extra_of(run, record, make)
  local job = record[JOB]
  local extra = run.extras[job]
  if not extra and record[MARKS] % 2 == SPARSE then
    extra = { job = job }
    extra.dooms, extra.skips, extra.cancels, extra.conts, extra.cause, extra.first, extra.cut, extra.items, extra.begun,
      extra.tries, extra.since, extra.due = struct_unpack(EXTRA, call('HGET', run.key .. ':x', name_of(run, job)))
    run.extras[job] = extra
  elseif not extra and make then
    extra = {
      job = job, dooms = 0, skips = 0, cancels = 0, conts = 0, cause = -1, first = -1, cut = 0, items = -1, begun = 0, tries = 0,
      since = 0, due = 0,
    }
    run.extras[job] = extra
    record[MARKS] = record[MARKS] + SPARSE
    touch(run, record)
  end
  if make and not extra.dirty then
    extra.dirty = true
    run.changed_extras[#run.changed_extras + 1] = extra
  end
  return extra
end

-- Whether what is to be done about a job is the library's own work.
local function is_control(record)
  local flags = record[FLAGS] % 4
  if flags == 0 then
    return false
  end
  return flags >= LIST or band(record[MARKS], PASSED) == 0
end

local function home_of(run, record)
  if is_control(record) then
    return CONTROL_QUEUE
  end
  local names = run.queues
  return names and names[record[QUEUE] + 1] or queue_name(run, record[QUEUE])
end

-- A payload for a job: its result, or why it has none. Empty stands for null and takes no room.
local function keep_value(run, record, payload)
  record[LENGTH] = #payload
  local bucket = floor(record[JOB] / VALUES)
  local values = run.values[bucket]
  if not values then
    values = {}
    run.values[bucket] = values
  end
  values[#values + 1] = name_of(run, record[JOB])
  values[#values + 1] = payload
  run.fresh[record[JOB]] = payload
end

-- The rows of jobs, by job; those of neighbours are read at one go. Long ones are set apart.
local function rows_of(run, jobs)
  local found, count, place = {}, #jobs, 1
  while place <= count do
    local first, last = jobs[place], place
    local bucket = floor(first / BUCKET)
    local base = bucket * BUCKET
    while last < count and jobs[last + 1] > jobs[last] and jobs[last + 1] <= jobs[last] + 4 and jobs[last + 1] < base + BUCKET do
      last = last + 1
    end
    local span = jobs[last] - first + 2
    local key, at = run.key .. ':w:' .. bucket, 4 * (first - base)
    local begins = u32s(call('GETRANGE', key, at, at + 4 * span - 1), 1, span)
    local rows = call('GETRANGE', key, begins[1], begins[span] - 1)
    for number = place, last do
      local job = jobs[number]
      local spot = job - first + 1
      local row = string.sub(rows, begins[spot] - begins[1] + 1, begins[spot + 1] - begins[1])
      found[job] = row ~= '' and row or call('HGET', run.key .. ':b', name_of(run, job))
    end
    place = last + 1
  end
  return found
end

local function packed(record)
  return pack(STORE, unpack(record, STATE, FINISHED))
end

local function static(record)
  return pack(STATED, unpack(record, QUEUE, INPUTS))
end

-- Write the changed records of a block: one alone, or all that lies from the first to the last.
local function write_block(run, block, first, last)
  local first_job = block * BLOCK
  local bucket = floor(first_job / BUCKET)
  local offset = (first_job - bucket * BUCKET) * RECORD + STATIC
  local jobs = run.jobs
  if first == last and not jobs[first][RESTATED] then
    call('SETRANGE', bucket_key(run, bucket), offset + (first - first_job) * RECORD, packed(jobs[first]))
    return
  end
  local raw, pieces, count = raw_of(run, block), {}, 0
  for job = first, last do
    local at = (job - first_job) * RECORD
    local record = jobs[job]
    count = count + 1
    pieces[count] = record and record[RESTATED] and static(record) or string.sub(raw, at + 1, at + STATIC)
    count = count + 1
    pieces[count] = record and packed(record) or string.sub(raw, at + STATIC + 1, at + RECORD)
  end
  call('SETRANGE', bucket_key(run, bucket), offset - STATIC + (first - first_job) * RECORD, concat(pieces))
end

local function write_records(run)
  local changed, from, to, order = run.changed, {}, {}, {}
  for place = 1, run.changes do
    local record = changed[place]
    local job = record[JOB]
    local block = floor(job / BLOCK)
    local first = from[block]
    if not first then
      from[block], to[block] = job, job
      order[#order + 1] = block
    elseif job < first then
      from[block] = job
    elseif job > to[block] then
      to[block] = job
    end
    record[DIRTY] = false
  end
  for place = 1, #order do
    local block = order[place]
    write_block(run, block, from[block], to[block])
  end
  run.changed, run.changes = {}, 0
  local fields = {}
  for place, extra in ipairs(run.changed_extras) do
    fields[2 * place - 1] = name_of(run, extra.job)
    fields[2 * place] = pack(
      EXTRA, extra.dooms, extra.skips, extra.cancels, extra.conts, extra.cause, extra.first, extra.cut, extra.items, extra.begun,
      extra.tries, extra.since, extra.due
    )
    extra.dirty = false
  end
  many('HSET', run.key .. ':x', fields, 2)
  run.changed_extras = {}
  for bucket, values in pairs(run.values) do
    many('HSET', run.key .. ':v:' .. bucket, values, 2)
  end
  run.values = {}
  if run.changed_lists or next(run.items) or next(run.tails) then
    write_lists(run)
  end
  if run.history then
    many('HSET', run.key .. ':a', run.history, 2)
    run.history = nil
  end
end
