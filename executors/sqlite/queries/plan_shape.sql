-- What was submitted of 128 jobs.
SELECT shape FROM plan WHERE id = ?
