-- Runs that have ended, oldest first.
SELECT number, name, state, ended_at FROM run WHERE ended_at IS NOT NULL AND (ended_at, number) > (?, ?)
    ORDER BY ended_at, number LIMIT ?
