-- How runs go on: what this call has decided is written, runs end.
-- rare: thin_out finish_sweeps take_late write_dead
local closing = { dues = {}, told = {}, crowds = {} }

local function write_line(run, name)
  local line, added, key = run[name], run['appended_' .. name], run.key .. ':' .. name
  if line then
    local taken = line.head - 1
    local stored = min(taken, line.stored)
    if stored > 0 then
      call('LPOP', key, stored)
    end
    local fresh = {}
    for place = max(line.head, line.stored + 1), line.count do
      fresh[#fresh + 1] = line[place]
    end
    many('RPUSH', key, fresh)
    local open = line.count > taken or not line.whole or #added > 0
    many('RPUSH', key, added)
    run[name], run['appended_' .. name] = nil, {}
    return open
  end
  return run.unswept
end

-- What has failed by itself is a dead letter: of all, of its queue, and of its run, by which it is found when that goes.
local function write_dead(run)
  local all, mine = {}, {}
  for place, record in ipairs(run.dead) do
    local member = member_of(run, record[JOB])
    all[2 * place - 1], all[2 * place] = now, member
    mine[place] = pack('<I4H', record[JOB], record[QUEUE])
    call('ZADD', of_queue(queue_name(run, record[QUEUE]), 'dead'), now, member)
  end
  many('ZADD', P .. 'dead', all, 2)
  many('SADD', run.key .. ':f', mine)
  run.dead = nil
end

local function close(run)
  local found = call('HMGET', run.key, 'keep', 'keep_failed', 'key', 'key_ttl', 'keep_count', 'name')
  local state = run.worst == 2 and 'failed' or run.worst == 1 and 'cancelled' or 'completed'
  tell_apart(run, 'ended', whole(now))
  tell_apart(run, 'state', state)
  if run.timed == 1 then
    call('ZREM', P .. 'deadlines', run.id)
  end
  if found[3] then
    local until_free = now + (tonumber(found[4]) or 0) - (tonumber(settings[1]) or 0)
    call('PEXPIREAT', P .. 'k:' .. found[3], whole(floor(until_free / 1000)))
  end
  closing.dues[#closing.dues + 1] = whole(now + (tonumber(state == 'completed' and found[1] or found[2]) or 0))
  closing.dues[#closing.dues + 1] = run.id
  closing.told[#closing.told + 1] = run.id
  closing.told[#closing.told + 1] = state
  call('ZADD', P .. 'n:' .. found[6], now, run.id)
  call('SADD', P .. 'names', found[6])
  if found[5] then
    closing.crowds[found[6]] = tonumber(found[5])
  end
  note(run, TOLD.ended)
  run.ended = true
end

-- Of the ended runs of a name only the newest are kept: the time of a few of the others is over now, by
-- any clock.
local function thin_out()
  for name, kept in pairs(closing.crowds) do
    local key = P .. 'n:' .. name
    local most = min(16, call('ZCARD', key) - kept)
    if most > 0 then
      for _, id in ipairs(call('ZRANGE', key, 0, most - 1)) do
        call('ZADD', P .. 'retire', 'XX', 'LT', whole(now - 1000000), id)
        call('ZREM', key, id)
      end
    end
  end
end

-- Runs that ended: those who wait for them hear of it, and their time of retention begins.
local function write_closed()
  if #closing.told > 0 then
    many('ZADD', P .. 'retire', closing.dues, 2)
    call('XADD', P .. 'ended', 'MAXLEN', '~', 10000, '*', unpack(closing.told))
    if next(closing.crowds) then
      thin_out()
    end
    closing = { dues = {}, told = {}, crowds = {} }
  end
end

-- Take up to 500 edges of the runs that have unswept ones.
local function finish_sweeps(of)
  if left <= 0 then
    return
  end
  local waiting = of and { of } or call('ZRANGE', P .. 'unswept', 0, 15)
  for _, id in ipairs(waiting) do
    local run = run_of(id)
    if not run then
      call('ZREM', P .. 'unswept', id)
    elseif left > 0 then
      run.is_swept = true
      sweep(run)
    end
  end
end

-- Leaves of a run that was staged: those with a delay, which begins when the run was made visible, and those of further lanes.
local function take_late(run)
  while run.late >= 0 and left > 0 do
    local wanted = min(left, 200)
    local packed = call('GETRANGE', run.key .. ':late', 4 * run.late, 4 * (run.late + wanted) - 1)
    local count_of = #packed / 4
    local jobs = count_of > 0 and u32s(packed, 1, count_of) or {}
    local began = call('HMGET', run.key, 'released', 'submitted')
    local submitted = tonumber(began[1] or began[2])
    for place = 1, count_of do
      local record = record_of(run, jobs[place])
      if record[STATE] == DELAYED then
        postpone(run, record, submitted + tonumber(call('HGET', run.key .. ':d', name_of(run, record[JOB]))))
      elseif record[STATE] == WAITING then
        enqueue(run, record)
      end
    end
    left = left - max(1, count_of)
    run.late = count_of == wanted and run.late + count_of or -1
    if run.late < 0 then
      call('UNLINK', run.key .. ':late')
    end
  end
end

local function write_run(run)
  write_records(run)
  if run.dead then
    write_dead(run)
  end
  local lines = write_line(run, 'cascade')
  lines = write_line(run, 'grow') or lines
  run.unswept = write_line(run, 'later') or lines
  if run.unswept or run.sweeping >= 0 or run.marking >= 0 or run.late >= 0 then
    call('ZADD', P .. 'unswept', 'NX', now, run.id)
    run.in_work = true
  elseif run.in_work then
    call('ZREM', P .. 'unswept', run.id)
    run.in_work = false
  end
  if run.open == 0 and not run.ended then
    close(run)
  end
  write_course(run)
end

local function write_events()
  local fields = {}
  for _, run in ipairs(seen_runs) do
    if run.told > 0 then
      local told = {}
      for first = 1, run.told, 600 do
        local last = min(run.told, first + 599)
        told[#told + 1] = pack('<' .. string.rep('BI4H', (last - first + 1) / 3), unpack(run.events, first, last))
      end
      fields[#fields + 1] = run.id
      fields[#fields + 1] = concat(told)
      run.events, run.told = {}, 0
    end
  end
  if #fields > 0 then
    call('XADD', P .. 'events', 'MAXLEN', '~', 10000, '*', 'at', now, unpack(fields))
  end
end

local function write_runs()
  for _, run in ipairs(seen_runs) do
    if run.late >= 0 then
      take_late(run)
    end
    if run.changes > 0 or run.is_swept then
      write_run(run)
    end
  end
end

-- Write what was decided; removals first, so that a server which is full goes on to drain.
local function write_all()
  write_freed()
  write_runs()
  write_lanes()
  for _, run in ipairs(seen_runs) do
    if run.doomed_by and run.open > 0 and not run.cancelling then
      begin_cancel(run, 'fail_fast:' .. run.doomed_by)
      sweep(run)
      write_run(run)
    end
    run.doomed_by = nil
  end
  write_closed()
end

local function write_marks()
  if turn ~= first_turn then
    call('HSET', meta, 'turn', turn, 'mark', fence_mark)
  else
    call('HSET', meta, 'mark', fence_mark)
  end
end
