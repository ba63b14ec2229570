-- A queue that jobs may wait in.
INSERT OR IGNORE INTO queue (name, turn) VALUES (?, ?)
