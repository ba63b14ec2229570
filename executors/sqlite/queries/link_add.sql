-- The items of a list have edges from a job.
INSERT OR IGNORE INTO link (child, list) VALUES (?, ?)
