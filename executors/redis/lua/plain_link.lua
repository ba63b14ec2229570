-- The plain exchange of a link: one job has completed, and with it the last child of the only one that waits for it, which is
-- claimed. Nothing else is ready. It comes to what the rest of the plain exchange comes to, by far fewer steps and tables.
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

-- Nothing is said, and has been written, where it is none.
local function link(meta, loop_key, seq, lease, inline, id, settle, payload, set)
  local number, job, outcome, counted, fence, started, ended, after, size = struct_unpack(SETTLE, settle)
  if outcome ~= 0 or job % BUCKET == BUCKET - 1 then
    return nil
  end
  local bucket, spot = floor(job / BUCKET), job % BUCKET
  name_link(id, bucket, floor(job / VALUES))
  local found = call('HMGET', link_key, 'course', 'queues', seen_by)
  local worker = tonumber(found[3])
  if not found[1] or not worker then
    return nil
  end
  local open, swept, count, worst, lines, cancelling, closed, timed, fast, workers, sweeping, position, marking, late, own, taken =
    struct_unpack(COURSE, found[1])
  if lines + cancelling + closed + timed > 0 or sweeping >= 0 or marking >= 0 or late >= 0 or open < 2 then
    return nil
  end
  local records = link_records[bucket]
  local raw = call('GETRANGE', records, offset_of(spot), offset_of(spot + 2))
  if #raw < 2 * RECORD then
    return nil
  end
  local queue, _, flags, _, _, edges_at, edges, _, _, state, marks, made, attempt, lost, pending, _, held, _, by = struct_unpack(LOAD, raw)
  if held ~= fence or state ~= ACTIVE or edges ~= 1 or edges_at ~= job + 1 or flags % 4 > 0 or flags >= STAMPED or band(flags, CODES) ~= 0 then
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
  if found[2] ~= packed_names then
    packed_names, names = found[2], {}
    for name in gmatch(packed_names, '[^\n]+') do
      names[#names + 1] = name
    end
  end
  local leases = set.leases[names[queue + 1]]
  if not leases then
    return nil
  end
  local its_job, moment = job + 1, format('%d', now)
  fence_mark = fence_mark + 1
  call('ZREM', leases, id .. ':' .. sub(settle, 3, 6))
  call('ZADD', leases, format('%d', now + lease), id .. ':' .. pack('<I4', its_job))
  call(
    'SETRANGE', records, digits_of(spot * RECORD + STATIC),
    pack(STORE, COMPLETED, marks, made, attempt, lost, pending, swept + 1, held, size, by, now - started, now - ended)
      .. sub(raw, RECORD + 1, RECORD + STATIC)
      .. pack(STORE, ACTIVE, its_marks, its_made, its_made + 1, its_lost, 0, its_ordinal, fence_mark, its_length, worker, now, 0)
  )
  if size > 0 then
    call('HSET', link_values[floor(job / VALUES)], sub(settle, 3, 6), payload)
  end
  call(
    'HSET', link_key, 'course',
    pack(COURSE, open - 1, swept + 1, count, worst, 0, 0, 0, 0, fast, workers, sweeping, position, marking, late, own, taken % TURN + 1)
  )
  call('HSET', meta, 'mark', format('%d', fence_mark))
  call('XADD', P .. 'events', 'MAXLEN', '~', '10000', '*', 'at', moment, id, pack('<BI4HBI4H', COMPLETED, job, attempt, 2, its_job, its_made + 1))
  local row = row_of_link(link_rows[bucket], spot + 1, count, row_length)
  local head = pack('<ddBHH', now, -1, 0, 1, 0)
  local granted = pack(GRANT, 0, its_job, its_made + 1, 0, fence_mark)
  call('SET', loop_key, pack('<dI4I4H', seq, #head, #id, 1) .. head .. id .. granted, 'EX', '3600')
  local numbers = head .. granted .. pack(WITH_IT, 0, #row, inputs)
  if inputs == 0 then
    return { numbers, row, id, NO_HEADER, NONE }
  end
  return { numbers .. pack(INPUT, job, COMPLETED, 0, size), row .. payload, id, NO_HEADER, NONE }
end
