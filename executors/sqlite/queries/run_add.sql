-- A new run.
INSERT INTO run (id, key, name, base, size, open, submitted_at, deadline_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
