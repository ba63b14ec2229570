-- A run goes.
DELETE FROM dead WHERE job >= ? AND job < ?
