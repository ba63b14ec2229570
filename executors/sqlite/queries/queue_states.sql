-- The queues that there are.
SELECT name, concurrency, starts, period, paused FROM queue ORDER BY name
