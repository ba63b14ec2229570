-- A run's own row.
SELECT number, id, key, name, base, size, open, turn, kinds, growing, openings, cancelling, reason, entries,
    tail, tail_from, submitted_at, deadline_at, ended_at
FROM run WHERE number = ?
