-- How far a handler is.
INSERT OR REPLACE INTO progress (job, value) VALUES (?, ?)
