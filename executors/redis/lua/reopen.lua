-- Put new columns in the place of those of a run that has ended, and let it go on. Answers 0 if it has not ended, or was reopened by
-- another meanwhile; -1 if it is gone.
-- KEYS: meta
-- ARGV: id stage openings parts lanes course job ended timeout
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
-- include: course
-- include: accept
local before = run_of(id)
if not before then
  return -1
elseif not before.ended or before.in_work or (call('HGET', before.key, 'openings') or '1') ~= openings then
  return 0
end
local staged, run_key = P .. 's:' .. stage .. ':', before.key

local function replace(part, key_now)
  call('UNLINK', key_now)
  if call('PERSIST', staged .. part) == 1 then
    call('RENAME', staged .. part, key_now)
  end
end

for part in string.gmatch(parts, '%S+') do
  if call('EXISTS', staged .. part) == 0 then
    return redis.error_reply('GONE the stage of run ' .. id .. ' has expired')
  end
end
for part in string.gmatch(parts, '%S+') do
  replace(part, run_key .. ':' .. part)
end
for index, priority in string.gmatch(lanes, '(%d+):(%d+)') do
  local lane = index .. ':' .. priority
  replace('j:' .. lane, P .. 'j:' .. id .. ':' .. lane)
end
call('HDEL', run_key, 'ended', 'state', 'reason')
call('HSET', run_key, 'course', course, 'openings', whole(tonumber(openings) + 1), 'released', whole(now))
call('ZREM', P .. 'retire', id)
call('ZREM', P .. 'n:' .. call('HGET', run_key, 'name'), id)
if tonumber(timeout) > 0 then
  set_deadline(id, now + tonumber(timeout))
end
local key = call('HGET', run_key, 'key')
if key and call('HGET', P .. 'k:' .. key, 'run') == id then
  call('PERSIST', P .. 'k:' .. key)
end
runs, seen_runs = {}, {}
local run = run_of(id)
for index, priority in string.gmatch(lanes, '(%d+):(%d+)') do
  local queue = queue_name(run, tonumber(index))
  call('ZADD', of_queue(queue, 'ring'), 'NX', next_turn(tonumber(priority)), id .. ':' .. index .. ':' .. priority)
  rouse(queue)
end
note(run, TOLD.reopened, tonumber(job) >= 0 and { tonumber(job), [ATTEMPT] = 0 } or nil)
for place = 1, #ended / 4 do
  local one = record_of(run, u32s(ended, place, 1)[1])
  note(run, one[STATE], one)
end
run.is_swept = true
sweep(run)
write_all()
write_marks()
write_events()
write_tokens()
return 1
