-- How some jobs ended.
SELECT id, number, started_at, finished_at, worker FROM result WHERE id IN (SELECT value FROM json_each(?))
