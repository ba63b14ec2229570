-- How a job ended.
SELECT payload, number, started_at, finished_at, worker FROM result WHERE id = ?
