-- The lanes of a run as they are served.
SELECT id, priority, queue, turn FROM lane WHERE run = ? ORDER BY priority, id
