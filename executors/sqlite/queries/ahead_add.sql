-- A job has completed, and the one that it released is granted.
INSERT INTO ahead (fence, session, job, follower, claim, payload, started_at, finished_at, worker, at, until)
VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
