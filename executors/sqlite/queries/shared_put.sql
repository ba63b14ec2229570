-- A job reserves a key.
INSERT OR REPLACE INTO shared (key, run, job_id, job, digest) VALUES (?, ?, ?, ?, ?)
