-- How the jobs of a run ended.
SELECT id, number, started_at, finished_at, worker FROM result WHERE id >= ? AND id < ?
