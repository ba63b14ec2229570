-- The run of a key has ended.
UPDATE key SET free_at = ? WHERE key = ? AND run = ?
