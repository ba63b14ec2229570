-- Jobs that are granted at once.
INSERT INTO claim (fence, run, session, worker, granted_at, until, jobs, open) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
