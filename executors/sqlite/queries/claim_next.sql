-- The next run, by number, of which a process has active jobs.
SELECT run FROM claim WHERE session = ? AND run > ? ORDER BY run LIMIT 1
