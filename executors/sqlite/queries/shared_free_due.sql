-- Shared results whose time is over.
DELETE FROM shared WHERE key IN (SELECT key FROM shared WHERE free_at <= ? LIMIT ?)
