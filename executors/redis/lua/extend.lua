-- Extend leases by their full length from now. Answers the numbers of those that are over, and of those whose run is cancelled.
-- KEYS: meta
-- ARGV: lease ids held
-- include: prelude
-- include: records
-- include: lanes
local named = {}
for id in string.gmatch(ids, '%S+') do
  named[#named + 1] = id
end
local until_us = whole(now + tonumber(lease))
local over, stopped = {}, {}
local by_queue = {}
local at, number = 1, 0
while at <= #held do
  local index, job, fence
  index, job, fence, at = struct_unpack('<HI4d', held, at)
  local run = run_of(named[index + 1])
  local record = run and record_of(run, job)
  if record and record[STATE] == ACTIVE and record[FENCE] == fence then
    local queue = home_of(run, record)
    local list = by_queue[queue] or {}
    by_queue[queue] = list
    list[#list + 1] = until_us
    list[#list + 1] = member_of(run, job)
    if run.cancelling then
      stopped[#stopped + 1] = number
    end
  else
    over[#over + 1] = number
  end
  number = number + 1
end
for queue, list in pairs(by_queue) do
  many('ZADD', of_queue(queue, 'leases'), list, 2)
end
return { over, stopped }
