-- The plain exchange of a link: one job has completed, and with it the last child of the only one that waits for it, which is
-- claimed; or the run ends with it. Nothing else is ready. It comes to what the rest of the plain exchange comes to, by far
-- fewer steps and tables.
local link_tag, link_id, link_key, link_values, link_rows, link_records
local NO_HEADER = { '' }
local digits = {} -- of small numbers: to write one takes as long as half a call

local function digits_of(number)
  local said = digits[number]
  if not said then
    said = format('%d', number)
    if number < 4096 then
      digits[number] = said
    end
  end
  return said
end

-- The names of what a run keeps of a bucket of jobs; most often those of the call before.
local function name_link(id, bucket, values)
  if link_id ~= id or link_tag ~= P then
    link_tag, link_id, link_key = P, id, P .. 'r:' .. id
    link_values, link_rows, link_records = {}, {}, {}
  end
  if not link_records[bucket] then
    link_records[bucket], link_rows[bucket] = link_key .. ':c:' .. bucket, link_key .. ':w:' .. bucket
  end
  if not link_values[values] then
    link_values[values] = link_key .. ':v:' .. values
  end
end

-- The row of a job that is short.
local function row_of_link(key, spot, size, length)
  if size <= SMALL then
    local bytes = call('GETRANGE', key, '0', '2047')
    local first, last = struct_unpack('<I4I4', bytes, 4 * spot + 1)
    if last <= #bytes then
      return sub(bytes, first + 1, last)
    end
    return call('GETRANGE', key, digits_of(first), digits_of(last - 1))
  end
  local first = struct_unpack('<I4', call('GETRANGE', key, digits_of(4 * spot), digits_of(4 * spot + 3)))
  return call('GETRANGE', key, digits_of(first), digits_of(first + length - 1))
end

local function queue_of_link(packed, queue)
  if packed ~= packed_names then
    packed_names, names = packed, {}
    for name in gmatch(packed_names, '[^\n]+') do
      names[#names + 1] = name
    end
  end
  return names[queue + 1]
end

-- The last job of a run: nothing is claimed. Says nothing where that thins out others.
local function end_link(loop_key, seq, shift, id, name, payload, size, values, queue, records, at, record, course, event)
  local ending = call('HMGET', link_key, 'keep', 'keep_failed', 'key', 'key_ttl', 'keep_count', 'name')
  if ending[5] then
    return nil
  end
  local worst, moment = course[WORST], format('%d', now)
  local state = worst == 2 and 'failed' or worst == 1 and 'cancelled' or 'completed'
  local keep = tonumber(ending[state == 'completed' and 1 or 2]) or 0
  call('ZREM', P .. 'q:' .. queue .. ':leases', id .. ':' .. name)
  call('SETRANGE', records, at, record)
  if size > 0 then
    call('HSET', values, name, payload)
  end
  course[OPEN], course[SWEPT], course[ENDED] = 0, course[SWEPT] + 1, 1
  call('HSET', link_key, 'course', pack(COURSE, unpack(course)), 'ended', moment, 'state', state)
  if ending[3] then
    local until_free = now + (tonumber(ending[4]) or 0) - shift
    call('PEXPIREAT', P .. 'k:' .. ending[3], format('%.0f', floor(until_free / 1000)))
  end
  call('ZADD', P .. 'n:' .. ending[6], moment, id)
  call('SADD', P .. 'names', ending[6])
  call('ZADD', P .. 'retire', format('%.0f', now + keep), id)
  call('XADD', P .. 'ended', 'MAXLEN', '~', '10000', '*', id, state)
  call('XADD', P .. 'events', 'MAXLEN', '~', '10000', '*', 'at', moment, id, event .. pack('<BI4H', 13, NOBODY, 0))
  local head = pack('<ddBHH', now, -1, 0, 0, 0)
  call('SET', loop_key, pack('<dI4I4H', seq, #head, 0, 0) .. head, 'EX', '3600')
  return { head, '', '', NONE, NONE }
end

-- Nothing is said, and has been written, where it is none.
local function link(meta, loop_key, seq, shift, lease, inline, id, settle, payload, set)
  local number, job, outcome, counted, fence, started, ended, after, size = struct_unpack(SETTLE, settle)
  if outcome ~= 0 then
    return nil
  end
  local bucket, spot, name = floor(job / BUCKET), job % BUCKET, sub(settle, 3, 6)
  local bucket_of_values = floor(job / VALUES)
  name_link(id, bucket, bucket_of_values)
  local found = call('HMGET', link_key, 'course', 'queues', seen_by)
  told = found
  if not found[1] then
    return nil
  end
  local course = { struct_unpack(COURSE, found[1]) }
  if course[LINES] + course[CANCELLING] + course[ENDED] + course[TIMED] > 0 or course[SWEEPING] >= 0 or course[MARKING] >= 0 or course[LATE] >= 0 then
    return nil
  end
  local records = link_records[bucket]
  local raw = call('GETRANGE', records, offset_of(spot), offset_of(spot + 2))
  if #raw < RECORD then
    return nil
  end
  local queue, _, flags, _, _, edges_at, edges, _, _, state, marks, made, attempt, lost, pending, _, held, _, by = struct_unpack(LOAD, raw)
  if held ~= fence or state ~= ACTIVE or flags % 4 > 0 or flags >= STAMPED then
    return nil
  end
  local at, swept = digits_of(spot * RECORD + STATIC), course[SWEPT] + 1
  local record = pack(STORE, COMPLETED, marks, made, attempt, lost, pending, swept, held, size, by, now - started, now - ended)
  local event = pack('<BI4H', COMPLETED, job, attempt)
  local queue_name = queue_of_link(found[2], queue)
  if edges == 0 and course[OPEN] == 1 then
    local values = link_values[bucket_of_values]
    return end_link(loop_key, seq, shift, id, name, payload, size, values, queue_name, records, at, record, course, event)
  end
  local worker, leases = tonumber(found[3]), set.leases[queue_name]
  if not worker or not leases or edges ~= 1 or edges_at ~= job + 1 or band(flags, CODES) ~= 0 or #raw < 2 * RECORD or spot == BUCKET - 1 then
    return nil
  end
  local its_queue, _, its_flags, _, row_length, _, _, inputs_at, inputs, its_state, its_marks, its_made, _, its_lost, its_pending, its_ordinal, _, its_length =
    struct_unpack(LOAD, raw, RECORD + 1)
  if its_queue ~= queue or its_state ~= WAITING_CHILDREN or its_marks % 2 == SPARSE or its_pending ~= 1 then
    return nil
  elseif band(its_flags, NOT_READY) ~= 0 or its_flags >= STAMPED or inputs > 1 or (inputs == 1 and inputs_at ~= job) then
    return nil
  elseif row_length + size > inline or row_length >= 2048 then
    return nil
  end
  local its_job = job + 1
  fence_mark = fence_mark + 1
  call('ZREM', leases, id .. ':' .. name)
  call('ZADD', leases, format('%d', now + lease), id .. ':' .. pack('<I4', its_job))
  local its_record = pack(STORE, ACTIVE, its_marks, its_made, its_made + 1, its_lost, 0, its_ordinal, fence_mark, its_length, worker, now, 0)
  call('SETRANGE', records, at, record .. sub(raw, RECORD + 1, RECORD + STATIC) .. its_record)
  if size > 0 then
    call('HSET', link_values[bucket_of_values], name, payload)
  end
  course[OPEN], course[SWEPT], course[TAKEN] = course[OPEN] - 1, swept, course[TAKEN] % TURN + 1
  call('HSET', link_key, 'course', pack(COURSE, unpack(course)))
  call('HSET', meta, 'mark', format('%d', fence_mark))
  call('XADD', P .. 'events', 'MAXLEN', '~', '10000', '*', 'at', format('%d', now), id, event .. pack('<BI4H', 2, its_job, its_made + 1))
  local row = row_of_link(link_rows[bucket], spot + 1, course[SIZE], row_length)
  local head = pack('<ddBHH', now, -1, PLAINLY, 1, 0)
  local granted = pack(GRANT, 0, its_job, its_made + 1, 0, fence_mark)
  call('SET', loop_key, pack('<dI4I4H', seq, #head, #id, 1) .. head .. id .. granted, 'EX', '3600')
  local numbers = head .. granted .. pack(WITH_IT, 0, #row, inputs)
  if inputs == 0 then
    return { numbers, row, id, NO_HEADER, NONE }
  end
  return { numbers .. pack(INPUT, job, COMPLETED, 0, size), row .. payload, id, NO_HEADER, NONE }
end
