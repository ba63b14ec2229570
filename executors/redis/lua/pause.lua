-- Pause a queue, or resume it. Answers whether that changed anything.
-- KEYS: meta
-- ARGV: queue paused
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
local limit = limit_of(queue)
if (limit and limit.paused or false) == (paused == '1') then
  return 0
end
local concurrency, starts, period = 0, 0, 0
if limit then
  concurrency, starts, period = limit.concurrency, limit.starts, limit.period
end
if paused == '0' and concurrency == 0 and starts == 0 then
  call('HDEL', P .. 'limits', queue)
else
  call('HSET', P .. 'limits', queue, paused .. ' ' .. whole(concurrency) .. ' ' .. whole(starts) .. ' ' .. whole(period))
  call('HSET', meta, 'limited', '1')
end
if paused == '0' then
  rouse(queue)
  write_tokens()
end
return 1
