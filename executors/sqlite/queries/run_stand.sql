-- How a run stands, for those who work it off.
SELECT ended_at, openings, cancelling, deadline_at FROM run WHERE number = ?
