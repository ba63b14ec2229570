-- Accept a run of at most one bucket of jobs, in one step. Answers who has the run's key now, and with what fingerprint.
-- KEYS: meta
-- ARGV: id key fingerprint timeout limited lanes ready late records edges rows fields_count delays_count
-- REST: fields and values of the run's hash, jobs and delays, jobs and rows that are set apart
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
-- include: course
-- include: accept
local holder = holder_of(key, id)
if holder then
  return holder
end
local run_key = P .. 'r:' .. id
local fields, at = {}, rest
for place = 1, tonumber(fields_count) do
  fields[place] = ARGV[at]
  at = at + 1
end
many('HSET', run_key, fields, 2)
call('SET', run_key .. ':c:0', records)
if #edges > 0 then
  call('SET', run_key .. ':e:0', edges)
end
call('SET', run_key .. ':w:0', rows)
local delayed, apart = {}, {}
for _ = 1, tonumber(delays_count) * 2 do
  delayed[#delayed + 1] = ARGV[at]
  at = at + 1
end
many('HSET', run_key .. ':d', delayed, 2)
for place = at, #ARGV do
  apart[#apart + 1] = ARGV[place]
end
many('HSET', run_key .. ':b', apart, 2)
local from = 1
for index, priority, count_of in string.gmatch(lanes, '(%d+):(%d+):(%d+)') do
  local jobs
  jobs, from = names_from(ready, from, tonumber(count_of))
  many('RPUSH', P .. 'j:' .. id .. ':' .. index .. ':' .. priority, jobs)
end
if limited ~= '' then
  state_limits(limited)
end
local run = accept(id, key, fingerprint, lanes, timeout)
for place = 1, #late / 4 do
  local job = u32s(late, place, 1)[1]
  postpone(run, record_of(run, job), now + tonumber(call('HGET', run_key .. ':d', name_of(run, job))))
end
write_all()
write_marks()
write_events()
write_tokens()
return { id, fingerprint }
