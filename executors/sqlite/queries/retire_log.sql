-- A run goes.
DELETE FROM log WHERE job >= ? AND job < ?
