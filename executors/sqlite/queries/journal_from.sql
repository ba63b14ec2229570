-- What has happened to a run since one of its steps, which may stand in the middle of a row.
SELECT id, entries FROM journal
WHERE id >= coalesce((SELECT max(id) FROM journal WHERE id >= ? AND id <= ?), ?) AND id < ? ORDER BY id
