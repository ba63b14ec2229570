-- What has become of attempts is taken down, and the machine told.
-- define: UNHANDLED 86400000000 SETTLE '<HI4BBddddI4'
-- rare: keep_attempt suspect lose fail is_unhandled settle_otherwise wake_due

-- File an attempt that will be followed by another.
local function keep_attempt(run, record, outcome, payload)
  local extra = extra_of(run, record, true)
  run.history = run.history or {}
  local history = run.history
  history[#history + 1] = pack('<I4H', record[JOB], extra.tries)
  history[#history + 1] = pack('<BHHdd', outcome, record[ATTEMPT], record[WORKER], record[STARTED], record[FINISHED]) .. payload
  extra.tries = extra.tries + 1
end

-- Of the jobs in this line a worker holds one at a time.
local function suspect(run, record)
  record[STATE] = WAITING
  local queue = home_of(run, record)
  call('ZADD', of_queue(queue, 'suspects'), now, member_of(run, record[JOB]))
  rouse(queue)
end

-- An active job lost its worker. Costs no attempt, but may not happen for ever: *spent* is why it has failed then.
local function lose(run, record, payload, spent)
  free(run, record, now) -- it may have started at any moment up to now
  record[FENCE] = -record[FENCE] -- its result is refused from now on, not only when another worker has the job
  record[FINISHED] = now
  record[LOST] = record[LOST] + 1
  touch(run, record)
  local control = is_control(record)
  if not control then
    keep_attempt(run, record, TOLD.lost, payload)
    note(run, TOLD.lost, record)
  end
  if record[LOST] >= LOST_LIMIT then
    record[MARKS] = bor(record[MARKS], OWN)
    keep_value(run, record, spent)
    settle(run, record, FAILED)
  elseif run.cancelling then
    settle(run, record, CANCELLED)
  elseif control then
    make_ready(run, record)
  else
    suspect(run, record)
  end
end

-- Why a job has failed that lost its workers in the way that the last of them tells.
local function spent_by(payload)
  local known, how = pcall(cjson.decode, payload)
  if not known or type(how) ~= 'table' then
    return payload
  end
  local times = 'lost its worker ' .. LOST_LIMIT .. ' times; the handler may be killing its process'
  how.type, how.traceback = 'LeaseLostError', ''
  how.message = times .. ' (the last time: ' .. tostring(how.message) .. ')'
  return cjson.encode(how)
end

local END = { completed = 0, failed = 1, retry = 2, skipped = 3, cancelled = 4, released = 5, passed = 6, expanded = 7, replayed = 8, lost = 9 }
local STATE_OF = { [END.failed] = FAILED, [END.skipped] = SKIPPED, [END.cancelled] = CANCELLED }

local function fail(run, record, state, payload)
  if #payload > 0 then
    record[MARKS] = bor(record[MARKS], OWN)
    keep_value(run, record, payload)
  end
  settle(run, record, state)
end

-- No worker had a handler for the job: whether that has gone on for too long.
local function is_unhandled(run, record)
  local key, name = run.key .. ':u', name_of(run, record[JOB])
  local since = tonumber(call('HGET', key, name))
  if not since then
    call('HSET', key, name, whole(now))
    return false
  end
  return now - since >= UNHANDLED
end

local function settle_otherwise(run, record, outcome, payload, after, counted)
  is_plain = false
  if outcome == END.lost then
    lose(run, record, payload, record[LOST] + 1 >= LOST_LIMIT and spent_by(payload) or nil)
    return
  end
  free(run, record, outcome ~= END.released and outcome ~= END.replayed and record[STARTED] or nil)
  touch(run, record)
  if outcome == END.released then
    if #payload > 0 and is_unhandled(run, record) then
      fail(run, record, FAILED, payload)
      return
    end
    if not is_control(record) then
      note(run, TOLD.released, record)
    end
    if record[LOST] > 0 and after == 0 and not run.cancelling and not is_control(record) then
      suspect(run, record) -- nothing has spoken for it since
    else
      requeue(run, record, after)
    end
  elseif outcome == END.expanded then
    expand(run, record, payload)
  elseif outcome == END.passed then
    record[MARKS] = bor(record[MARKS], PASSED)
    if run.cancelling then
      settle(run, record, CANCELLED)
    else
      release(run, record)
    end
  elseif outcome == END.replayed then
    record[MARKS] = bor(record[MARKS], REPLAYED)
    record[FINISHED] = 0
    note(run, TOLD.replayed, record)
    local size, at = struct_unpack('<I4', payload) -- of the name of the job whose result it is
    call('HSET', run.key .. ':o', name_of(run, record[JOB]), string.sub(payload, at, at + size - 1))
    keep_value(run, record, string.sub(payload, at + size))
    settle(run, record, COMPLETED)
  elseif outcome == END.retry then
    call('HDEL', run.key .. ':u', name_of(run, record[JOB]))
    if counted then
      record[MADE] = record[MADE] + 1
      if record[MADE] >= (record[FLAGS] % 4 < LIST and record[LIMIT] > 0 and record[LIMIT] or 1000) then
        fail(run, record, FAILED, payload)
        return
      end
    end
    if run.cancelling then
      fail(run, record, CANCELLED, payload)
      return
    end
    local extra = extra_of(run, record, true)
    if extra.since <= 0 then -- or -1: it was done before the run was reopened
      extra.since = record[STARTED]
    end
    keep_attempt(run, record, FAILED, payload)
    note(run, TOLD.retrying, record)
    requeue(run, record, after)
  else
    fail(run, record, STATE_OF[outcome], payload)
  end
end

-- Take settles in order. Answers the numbers of those that were refused, counted from 0: their fence was not the newest.
local function take_all(packed_settles, payloads, ids)
  local refused, touched = {}, {}
  local place, at, from, length = 0, 1, 1, #packed_settles
  while at <= length do
    local number, job, outcome, counted, fence, started, ended, after, size
    number, job, outcome, counted, fence, started, ended, after, size, at = struct_unpack(SETTLE, packed_settles, at)
    local run = run_of(ids[number + 1])
    local record = run and record_of(run, job)
    if not record or record[FENCE] ~= fence then
      refused[#refused + 1] = place
    elseif record[STATE] == ACTIVE then -- else it was settled before by this very grant: the answer is the same
      if not touched[run] then
        touched[run] = true
        touched[#touched + 1] = run
      end
      if not is_control(record) then
        record[STARTED], record[FINISHED] = now - started, now - ended
      end
      local payload = size > 0 and string.sub(payloads, from, from + size - 1) or ''
      if outcome == END.completed then
        free(run, record, record[STARTED])
        record[LENGTH] = size
        if size > 0 then
          keep_value(run, record, payload)
        end
        settle(run, record, COMPLETED)
      else
        settle_otherwise(run, record, outcome, payload, after, counted == 1)
      end
    end
    from = from + size
    place = place + 1
  end
  for _, run in ipairs(touched) do
    sweep(run)
  end
  return refused
end

local function wake_due(queues)
  local wakes = 200
  for _, queue in ipairs(queues) do
    local key = of_queue(queue, 'due')
    local found = call('ZRANGEBYSCORE', key, '-inf', now, 'LIMIT', 0, wakes)
    if #found > 0 then
      many('ZREM', key, found)
      for _, member in ipairs(found) do
        local id, job = member_parts(member)
        local run = run_of(id)
        local record = run and record_of(run, job)
        if record and record[STATE] == DELAYED and not run.cancelling then -- else it is about to be marked
          make_ready(run, record)
        end
      end
      wakes = wakes - #found
      if wakes <= 0 then
        return
      end
    end
  end
end
