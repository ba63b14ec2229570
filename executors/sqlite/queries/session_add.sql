-- A process comes to use the file.
INSERT INTO session (pid, began_at) VALUES (?, ?)
