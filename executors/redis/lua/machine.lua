-- What a run means, as flows/_machine.py says it: which job may run when, and what each end does to its dependents.
-- define: LOST_LIMIT 3
-- rare: want_growth delay_until end_below influence count mark_cancelled requeue begin_cancel

local left = 500

local function note(run, kind, record)
  local events, told = run.events, run.told
  events[told + 1] = kind
  events[told + 2] = record and record[JOB] or 4294967295
  events[told + 3] = record and record[ATTEMPT] or 0
  run.told = told + 3
end

-- Kinds of events besides the ends of jobs, which are told by their state.
local TOLD = { submitted = 1, started = 2, retrying = 8, released = 9, lost = 10, expanded = 12, ended = 13, reopened = 14, replayed = 15 }

local RANKS = { [COMPLETED] = 0, [SKIPPED] = 0, [CANCELLED] = 1, [FAILED] = 2 }

local function terminate(run, record, state)
  record[STATE] = state
  touch(run, record)
  run.open = run.open - 1
  if band(record[FLAGS], ROOT) ~= 0 then
    run.worst = max(run.worst, RANKS[state])
    if state == FAILED and run.fast == 1 then
      run.doomed_by = run.doomed_by or record[JOB]
      is_plain = false
    end
  end
  note(run, state, record)
end

-- The line of settled jobs (`later`) or of a settle's cascade: stored as a list, of which the beginning is loaded here.
local function line_of(run, name)
  local line = run[name]
  if not line then
    line = { head = 1, stored = 0, whole = true, count = 0 }
    if run.unswept then
      local found = call('LRANGE', run.key .. ':' .. name, 0, 499)
      for place = 1, #found do
        line[place] = tonumber(found[place])
      end
      line.stored, line.count, line.whole = #found, #found, #found < 500
    end
    run[name] = line
  end
  return line
end

local function append(run, name, job)
  local line = run[name] or line_of(run, name)
  if line.whole then
    local count = line.count + 1
    line.count = count
    line[count] = job
  else
    local added = run['appended_' .. name]
    added[#added + 1] = job
  end
end

local function pop(run, name)
  local line = run[name] or line_of(run, name)
  local job = line[line.head]
  if job then
    line.head = line.head + 1
  end
  return job
end

-- A list may have room for further items.
local function want_growth(run, record)
  local job = record[JOB]
  is_plain = false
  if not run.grows[job] then
    run.grows[job] = true
    append(run, 'grow', job)
  end
end

local function settle(run, record, state)
  terminate(run, record, state)
  append(run, 'later', record[JOB])
  if state == FAILED then -- by itself
    run.dead = run.dead or {}
    run.dead[#run.dead + 1] = record
  end
end

local function end_below(run, record, state)
  terminate(run, record, state)
  append(run, 'cascade', record[JOB])
end

local function make_ready(run, record)
  record[STATE] = WAITING
  touch(run, record)
  enqueue(run, record)
end

local function delay_until(run, record, due)
  record[STATE] = DELAYED
  touch(run, record)
  postpone(run, record, due)
end

local function release(run, record)
  if band(record[FLAGS], DELAY) ~= 0 and not is_control(record) then
    delay_until(run, record, now + tonumber(call('HGET', run.key .. ':d', name_of(run, record[JOB]))))
  else
    make_ready(run, record)
  end
end

local function decide(run, record)
  local extra = extra_of(run, record)
  if not extra then
    if record[PENDING] == 0 then
      release(run, record)
    end
  elseif extra.dooms > 0 then
    end_below(run, record, FAILED)
  elseif extra.cancels > 0 then
    end_below(run, record, CANCELLED)
  elseif record[PENDING] > 0 then
    if extra.items >= 0 then
      if extra.begun < extra.items then
        want_growth(run, record)
      end
    elseif extra.conts > 0 then
      extra_of(run, record, true).cut = run.turn
      release(run, record)
    end
  elseif extra.skips > 0 then
    end_below(run, record, SKIPPED)
  elseif extra.items >= 0 then
    end_below(run, record, COMPLETED)
  else
    release(run, record)
  end
end

-- Which counter an edge adds to whose child ended in *state*; nil: only `pending` falls.
local function influence(state, code)
  local kind = code % 8
  if state == COMPLETED or kind == 1 or kind == 2 then -- ignored, removed
    return nil
  elseif kind == 3 then -- continue
    return 'conts'
  elseif state == FAILED then
    return kind == 0 and 'dooms' or 'skips'
  elseif state == CANCELLED then
    return 'cancels'
  end
  return code % 16 < 8 and 'skips' or nil
end

local function count(run, child, dependent, code)
  local counter = influence(child[STATE], code)
  if not counter then
    return
  end
  local extra = extra_of(run, dependent, true)
  extra[counter] = extra[counter] + 1
  if extra.cause < 0 or (counter == 'dooms' and extra.dooms == 1) then
    extra.cause, extra.first = child[JOB], child[JOB]
    local above = extra_of(run, child)
    if above and above.first >= 0 and band(child[MARKS], OWN) == 0 then
      extra.first = above.first -- what went wrong by itself: nobody has to walk down the causes
    end
  end
end

local function apply(run, child, dependents, codes)
  local clean = child[STATE] == COMPLETED and not codes
  for place = 1, #dependents do
    local dependent = record_of(run, dependents[place])
    dependent[PENDING] = dependent[PENDING] - 1
    touch(run, dependent)
    if not clean then
      count(run, child, dependent, codes and string.byte(codes, place) or 0)
    end
    if dependent[STATE] == WAITING_CHILDREN then
      decide(run, dependent)
    end
  end
end

-- Up to *count* dependents of a job from *position* on, and the codes of these edges if not all are plain.
local function edges_of(run, record, position, wanted)
  local edges = record[EDGES]
  if edges == 1 and band(record[FLAGS], CODES) == 0 then
    return { record[EDGES_AT] }
  end
  wanted = min(wanted, edges - position)
  local key, at = run.key .. ':e:' .. floor(record[JOB] / BUCKET), record[EDGES_AT]
  local dependents = u32s(call('GETRANGE', key, at + 4 * position, at + 4 * (position + wanted) - 1), 1, wanted)
  dependents[wanted + 1] = nil -- where the unpacking ended
  if band(record[FLAGS], CODES) == 0 then
    return dependents
  end
  at = at + 4 * edges + position
  return dependents, call('GETRANGE', key, at, at + wanted - 1)
end

local function mark_cancelled(run)
  local emptied = {}
  while run.marking >= 0 and left > 0 do
    local first = run.marking
    local last = min(run.size, first + min(left, BUCKET), (floor(first / BUCKET) + 1) * BUCKET)
    for job = first, last - 1 do
      local record = record_of(run, job)
      if record[STATE] < ACTIVE and (job < run.own or record[FLAGS] >= STAMPED) then
        local member = member_of(run, job)
        if record[STATE] == DELAYED then
          call('ZREM', of_queue(home_of(run, record), 'due'), member)
        elseif record[STATE] == WAITING then
          if record[LOST] > 0 then
            call('ZREM', of_queue(home_of(run, record), 'suspects'), member)
          end
          local lane = run.prefix .. (is_control(record) and CONTROL or record[QUEUE]) .. ':' .. record[PRIORITY]
          if not emptied[lane] then
            emptied[lane] = true
            call('ZREM', of_queue(home_of(run, record), 'ring'), lane)
            call('UNLINK', P .. 'j:' .. lane)
          end
        end
        end_below(run, record, CANCELLED)
      end
    end
    left = left - (last - first)
    run.marking = last < run.size and last or -1
  end
end

-- The job whose edges are to be applied now; nil if there is none, or if it is the turn of lists to grow.
local function take_up(run)
  local job = run.sweeping
  if job >= 0 then
    return record_of(run, job)
  elseif run.is_growing then
    return nil
  end
  job = pop(run, 'cascade')
  if not job and line_of(run, 'cascade').whole then
    job = pop(run, 'later')
  end
  if not job then
    return nil
  end
  local record = record_of(run, job)
  run.turn = run.turn + 1
  record[ORDINAL] = run.turn
  touch(run, record)
  run.position = 0
  return record
end

local function sweep_one(run, record)
  local edges = record[EDGES]
  if edges == 1 and record[STATE] == COMPLETED and record[FLAGS] % 64 < CODES then -- most often
    local dependent = run.jobs[record[EDGES_AT]] or record_of(run, record[EDGES_AT])
    local pending = dependent[PENDING] - 1
    dependent[PENDING] = pending
    touch(run, dependent)
    if dependent[STATE] == WAITING_CHILDREN and (pending == 0 or dependent[MARKS] % 2 == SPARSE) then
      decide(run, dependent)
    end
    run.position, run.sweeping = 1, -1
    left = left - 1
  elseif edges > 0 then
    local dependents, codes = edges_of(run, record, run.position, left)
    run.sweeping = record[JOB]
    apply(run, record, dependents, codes)
    run.position = run.position + #dependents
    left = left - #dependents
    run.sweeping = run.position < edges and record[JOB] or -1
  else
    run.sweeping = -1
    left = left - 1
  end
end

-- Apply edges of settled jobs, first in first out over settles, each with its whole cascade before the next. Jobs without
-- edges count as one, so that no call is long.
local function sweep(run)
  if run.marking >= 0 then
    mark_cancelled(run)
    if run.marking >= 0 then
      return
    end
  end
  while left > 0 do
    local record = take_up(run)
    if record then
      sweep_one(run, record)
    elseif not run.unswept and not run.grow or not grow(run) then
      return
    end
  end
end

local function requeue(run, record, after)
  if run.cancelling then
    settle(run, record, CANCELLED)
    return false
  elseif after > 0 then
    delay_until(run, record, now + after)
  else
    make_ready(run, record)
  end
  return true
end

-- Cancel: nothing more is handed out from now on; the jobs are marked, and taken from their lanes, by this and later calls.
local function begin_cancel(run, reason)
  run.cancelling, run.marking = true, 0
  run.late = -1
  if run.timed == 1 then
    call('ZREM', P .. 'deadlines', run.id)
  end
  tell_apart(run, 'reason', reason)
  call('XADD', P .. 'stops', 'MAXLEN', '~', 1000, '*', run.id, 1)
  call('UNLINK', run.key .. ':late')
end
