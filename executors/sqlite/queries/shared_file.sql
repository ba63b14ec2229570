-- The result under a key of jobs.
UPDATE shared SET done = 1, payload = ?, free_at = ? WHERE key = ?
