-- Who holds a key.
SELECT run, number, fingerprint, free_at FROM key WHERE key = ?
