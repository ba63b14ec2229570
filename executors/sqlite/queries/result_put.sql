-- How a job ended.
INSERT OR REPLACE INTO result (id, payload, number, started_at, finished_at, worker) VALUES (?, ?, ?, ?, ?, ?)
