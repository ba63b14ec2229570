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

-- The last words about a job name it, as those who fail for its sake will quote them.
local function naming(run, record)
  local known, row = pcall(cjson.decode, rows_of(run, { record[JOB] })[record[JOB]] or '')
  local name = known and type(row) == 'table' and row[1] or ''
  return (string.gsub(spent, '"job":""', function()
    return '"job":' .. cjson.encode(name)
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
      lose(run, record, record[LOST] + 1 >= LOST_LIMIT and naming(run, record) or lost)
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
