-- When the next delayed job of a run is due.
SELECT min(due_at) FROM delayed WHERE run = ?
