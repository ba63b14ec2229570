-- Take back the jobs of expired leases, cancel what is overdue, go on with sweeps: of some queues, those from *cursor* on. Answers
-- how many jobs were taken back, whether there is more to do with these queues, the cursor of the next ones ('0': none), and the
-- first deadline of a run ('': none).
-- KEYS: meta
-- ARGV: lost spent chunk cursor
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
-- include: course
-- include: settling
left = tonumber(chunk)
local taken, touched = 0, {}

local function touch_run(run)
  if not touched[run] then
    touched[run] = true
    touched[#touched + 1] = run
  end
end

-- The name of a job, as its row says it; of one of an item, as the header says it, and where the item stands in its lists.
local function named_in(run, record)
  if record[FLAGS] < STAMPED then
    return cjson.decode(rows_of(run, { record[JOB] })[record[JOB]])[1]
  end
  local label, job, base, body = '', record, nil, nil
  while job[FLAGS] >= STAMPED do
    local list = list_of(run, job[ROW_LENGTH])
    local position, first = spot_of(run, list, job[JOB])
    label = '[' .. position .. ']' .. label
    base, body = base or first, body or list.number
    job = record_of(run, list.job)
  end
  local header = cjson.decode(call('HGET', run.key, 'header'))
  return header.bodies[body + 1].rows[record[JOB] - base + 1][1] .. label
end

-- The last words about a job name it, as those who fail for its sake will quote them.
local function naming(run, record)
  local known, name = pcall(function()
    return named_in(run, record)
  end)
  return (string.gsub(spent, '"job":""', function()
    return '"job":' .. cjson.encode(known and name or '')
  end))
end

local page = call('SSCAN', P .. 'queues', cursor, 'COUNT', 100)
local queues = page[2]
if cursor == '0' then
  queues[#queues + 1] = CONTROL_QUEUE
end
for _, queue in ipairs(queues) do
  local found = call('ZRANGEBYSCORE', of_queue(queue, 'leases'), '-inf', now, 'LIMIT', 0, 100 - taken)
  for _, member in ipairs(found) do
    local id, job = member_parts(member)
    local run = run_of(id)
    local record = run and record_of(run, job)
    call('ZREM', of_queue(queue, 'leases'), member)
    if record and record[STATE] == ACTIVE then
      lose(run, record, lost, record[LOST] + 1 >= LOST_LIMIT and naming(run, record) or nil)
      touch_run(run)
      taken = taken + 1
    end
  end
  if taken >= 100 then
    break
  end
end
for _, run in ipairs(touched) do
  sweep(run)
end
local overdue = call('ZRANGEBYSCORE', P .. 'deadlines', '-inf', now, 'LIMIT', 0, 16)
for _, id in ipairs(overdue) do
  local run = run_of(id)
  if not run or run.cancelling or run.ended then
    call('ZREM', P .. 'deadlines', id)
  elseif left > 0 then
    run.is_swept = true
    begin_cancel(run, 'timeout')
    sweep(run)
  end
end
finish_sweeps()
write_all()
if turn ~= first_turn then
  write_marks()
end
write_events()
write_tokens()
local first = call('ZRANGE', P .. 'deadlines', 0, 0, 'WITHSCORES')
local more = taken >= 100 or (tonumber(first[2]) or now + 1) <= now or call('ZCARD', P .. 'unswept') > 0
return { taken, more and 1 or 0, page[1], first[2] or '' }
