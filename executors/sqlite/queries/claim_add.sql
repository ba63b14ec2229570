-- Jobs that are granted at once.
INSERT INTO claim (session, run, fence, worker, granted_at, until, jobs, open) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
