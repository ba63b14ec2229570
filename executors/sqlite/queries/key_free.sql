-- A key is free again.
DELETE FROM key WHERE key = ?
