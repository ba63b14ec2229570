-- The queues that are limited or paused.
SELECT name, concurrency, starts, period, paused, log FROM queue WHERE concurrency IS NOT NULL OR starts IS NOT NULL OR paused
