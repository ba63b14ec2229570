-- What was submitted of all jobs of a run.
SELECT rows FROM plan WHERE id >= ? AND id < ? ORDER BY id
