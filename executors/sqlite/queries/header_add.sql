-- What was submitted, but for its jobs.
INSERT INTO header (run, header, store, bodies) VALUES (?, ?, ?, ?)
