-- A run goes.
DELETE FROM attempt WHERE job >= ? AND job < ?
