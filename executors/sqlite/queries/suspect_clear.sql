-- The run has ended.
DELETE FROM suspect WHERE job >= ? AND job < ?
