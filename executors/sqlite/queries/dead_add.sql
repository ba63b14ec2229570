-- A job has failed for good.
INSERT OR REPLACE INTO dead (place, job, queue) VALUES (?, ?, ?)
