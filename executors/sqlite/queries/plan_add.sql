-- What was submitted of 128 jobs.
INSERT INTO plan (id, shape, rows) VALUES (?, ?, ?)
