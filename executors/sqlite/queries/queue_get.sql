-- The limits of a queue.
SELECT concurrency, starts, period FROM queue WHERE name = ?
