-- When the next delayed job is due.
SELECT min(due_at) FROM delayed
