-- The limits of a queue.
UPDATE queue SET concurrency = ?, starts = ?, period = ? WHERE name = ?
