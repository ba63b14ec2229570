-- The lists whose items have edges from a job.
SELECT list FROM link WHERE child = ? ORDER BY list
