-- The columns of 128 jobs.
INSERT OR REPLACE INTO chunk (id, dense, sparse) VALUES (?, ?, ?)
