-- What has happened to a run.
SELECT id, entries FROM journal WHERE id >= ? AND id < ? ORDER BY id
