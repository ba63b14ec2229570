-- Keys whose time is over.
DELETE FROM key WHERE number IS NULL AND key IN (SELECT key FROM key WHERE free_at <= ? LIMIT ?)
