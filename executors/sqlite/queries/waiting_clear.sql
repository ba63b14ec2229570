-- The result is there.
DELETE FROM shared_waiting WHERE key = ?
