-- A run goes.
DELETE FROM journal WHERE id >= ? AND id < ?
