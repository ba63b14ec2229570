-- What was submitted of 128 jobs, for their workers.
SELECT rows FROM plan WHERE id = ?
