-- A run goes.
DELETE FROM progress WHERE job >= ? AND job < ?
