-- A run goes.
DELETE FROM chunk WHERE id >= ? AND id < ?
