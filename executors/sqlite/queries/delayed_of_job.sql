-- When a delayed job is due.
SELECT due_at FROM delayed WHERE job = ?
