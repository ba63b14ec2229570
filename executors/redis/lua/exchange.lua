-- Settle attempts that have ended and claim jobs, in one step.
-- KEYS: meta
-- ARGV: loop seq worker lease limit suspects at_once inline chunk ids settles payloads queues
-- first: plain plain_claims plain_link plain_writes
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
-- include: course
-- include: settling
-- include: grants
-- include: turns
-- rare: soonest repeated
seen_by = 'w:' .. worker
local wanted = {}
for name in string.gmatch(queues, '[^\n]+') do
  wanted[#wanted + 1] = name
end
local loop_key = P .. 'l:' .. loop
local last = call('GET', loop_key)
seq, limit, inline = tonumber(seq), tonumber(limit), tonumber(inline)

local function soonest()
  local due = -1
  for _, queue in ipairs(wanted) do
    local limit = limit_of(queue)
    if not limit or not limit.paused then
      local first = call('ZRANGE', of_queue(queue, 'due'), 0, 0, 'WITHSCORES')
      local opens = limit and opens_at(queue)
      for _, at in ipairs({ tonumber(first[2]) or opens, opens }) do
        if due < 0 or at < due then
          due = at
        end
      end
    end
  end
  return due
end

-- The same call again: its reply was lost. What was granted is told again, but for jobs that others have taken over since,
-- and for those of runs that are gone: after a long partition, a worker that hears of neither goes on.
local function repeated(at)
  local list, kept = {}, 0
  local head_size, ids_size, count
  head_size, ids_size, count, at = struct_unpack('<I4I4H', last, at)
  local head = string.sub(last, at, at + head_size - 1)
  local ids = string.sub(last, at + head_size, at + head_size + ids_size - 1)
  head = string.sub(head, 1, 16) .. string.char(string.byte(head, 17) % 2) .. string.sub(head, 18) -- none is said to be plain
  local named = {}
  for id in string.gmatch(ids, '%S+') do
    named[#named + 1] = id
  end
  at = at + head_size + ids_size
  for _ = 1, count do
    local index, job, attempt, flags, fence, following = struct_unpack(GRANT, last, at)
    local run = run_of(named[index + 1])
    local record = run and call('HEXISTS', run.key, 'retired') == 0 and record_of(run, job)
    if record and record[FENCE] == fence then
      kept = kept + 1
      list[kept] = { run = run, record = record, flags = flags, fence = fence, attempt = attempt, inputs = false }
      run.is_new = true
    end
    at = following
  end
  if kept < count then -- it stands behind two numbers and a byte
    head = string.sub(head, 1, 17) .. pack('<H', kept) .. string.sub(head, 20)
  end
  local numbers, kept_ids = numbers_of(list, kept)
  return answer(head, list, kept, numbers, kept_ids, inline)
end

if last then
  local answered, at = struct_unpack('<d', last)
  if seq < answered then
    return redis.error_reply('STALE call ' .. seq .. ' came after call ' .. answered)
  elseif seq == answered then
    return repeated(at)
  end
end

-- One look tells whether anything is there that is not there most of the time.
local function is_rare()
  local keys = { P .. 'unswept', of_queue(CONTROL_QUEUE, 'ring') }
  for _, queue in ipairs(wanted) do
    keys[#keys + 1] = of_queue(queue, 'due')
    keys[#keys + 1] = of_queue(queue, 'suspects')
  end
  return is_limited or #keys > 200 or call('EXISTS', unpack(keys)) > 0
end

local more = false
-- A queue has more than was claimed: the caller may claim it next time, or somebody else at once.
local function leave(queue, is_full)
  rouse(queue)
  more = more or not is_full
end

local function claim(queue)
  local room, is_full = limit - granted, false
  if is_limited then
    room, is_full = room_of(queue, room, at_once)
  end
  if room > 0 then
    local goal = granted + room
    if take_turns(queue, room) then
      leave(queue, is_full and granted == goal) -- else what was first in the ring had nothing ready
    else
      claimed_out[queue] = true
    end
  else
    if opening[queue] then
      let_go(queue)
    end
    if not is_full and call('ZCARD', of_queue(queue, 'ring')) > 0 then
      leave(queue, granted < limit)
    end
  end
end

left = tonumber(chunk)
local refused = {}
local rare = is_rare()
if rare and call('ZCARD', P .. 'unswept') > 0 then
  finish_sweeps()
  left = tonumber(chunk)
end
if #settles > 0 then
  local named = {}
  for id in string.gmatch(ids, '%S+') do
    named[#named + 1] = id
  end
  refused = take_all(settles, payloads, named)
end
is_plain = is_plain and not rare
rare = not is_plain
if is_plain then -- runs are written when it is known what is claimed of them, too
  local is_wanted = {}
  for _, queue in ipairs(wanted) do
    is_wanted[queue] = true
  end
  write_freed()
  if #opened_lanes > 0 and limit > 0 then
    hold_back(is_wanted)
  end
  write_lanes()
else
  wake_due(wanted)
  write_all()
end
if limit > 0 then
  at_once = tonumber(at_once)
  for _, queue in ipairs(wanted) do
    if rare or queue ~= CONTROL_QUEUE or filled[queue] or opening[queue] then
      claim(queue)
    end
  end
  if suspects == '1' and rare then
    for _, queue in ipairs(wanted) do
      if granted < limit and room_of(queue, 1, at_once) > 0 and take_suspect(queue) then
        break
      end
    end
  end
end
write_taken()
if granted > 0 then
  write_leases(now + tonumber(lease))
end
if is_plain then
  write_runs()
  write_closed()
end
if granted > 0 then
  for _, run in ipairs(seen_runs) do
    write_records(run)
    if run.told_apart then
      write_course(run)
    end
  end
  write_marks()
elseif turn ~= first_turn then
  write_marks()
end
write_events()
write_tokens()
for _, run in ipairs(seen_runs) do
  rare = rare or run.in_work
end
if rare and call('ZCARD', P .. 'unswept') > 0 then
  more = true
end
local due = (rare or has_postponed) and soonest() or -1
local head = { pack('<ddBHH', now, due, more and 1 or 0, granted, #refused) }
for place, number in ipairs(refused) do
  head[place + 1] = pack('<H', number)
end
head = concat(head)
local numbers, run_ids = numbers_of(grants, granted)
call('SET', loop_key, pack('<dI4I4H', seq, #head, #run_ids, granted) .. head .. run_ids .. concat(numbers), 'EX', 3600)
return answer(head, grants, granted, numbers, run_ids, inline)
