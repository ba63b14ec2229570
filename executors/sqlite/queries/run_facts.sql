-- How a run stands.
SELECT ended_at, submitted_at, reason, openings, size, state FROM run WHERE id = ?
