-- The lanes of a queue that may have jobs.
SELECT id, run, priority, queue, turn FROM lane WHERE queue = ? AND turn IS NOT NULL ORDER BY priority, turn
