-- How a run stands.
SELECT ended_at, submitted_at, reason, openings, size FROM run WHERE id = ?
