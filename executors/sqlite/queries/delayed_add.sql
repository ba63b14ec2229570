-- A job that waits for its time.
INSERT INTO delayed (run, due_at, place, job) VALUES (?, ?, ?, ?)
