-- A job waits no longer.
DELETE FROM shared_waiting WHERE key = ? AND job = ?
