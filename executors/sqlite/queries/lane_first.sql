-- Whose turn it is in a queue.
SELECT id, run, priority, queue, turn FROM lane WHERE queue = ? AND turn IS NOT NULL ORDER BY priority, turn LIMIT 1
