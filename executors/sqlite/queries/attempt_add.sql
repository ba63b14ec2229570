-- An attempt that will be followed by another.
INSERT INTO attempt (job, place, number, outcome, started_at, finished_at, worker, payload) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
