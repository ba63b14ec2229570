-- A run goes.
DELETE FROM plan WHERE id >= ? AND id < ?
