-- An active job uses its queue's limits.
INSERT OR IGNORE INTO holding (job, queue, begun) VALUES (?, ?, ?)
