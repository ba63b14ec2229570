-- A line that a handler logs.
INSERT INTO log (job, place, line) VALUES (?, ?, ?)
