-- A job waits for the result under a key.
INSERT OR IGNORE INTO shared_waiting (key, job) VALUES (?, ?)
