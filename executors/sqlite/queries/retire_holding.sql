-- A run goes.
DELETE FROM holding WHERE job >= ? AND job < ?
