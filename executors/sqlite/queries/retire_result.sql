-- A run goes.
DELETE FROM result WHERE id >= ? AND id < ?
