-- A lane without jobs.
INSERT INTO lane (run, priority, queue) VALUES (?, ?, ?)
