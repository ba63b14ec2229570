-- Runs whose time is over.
SELECT number, size FROM run WHERE retire_at <= ? ORDER BY retire_at LIMIT ?
