-- Earlier attempts of a job.
SELECT number, outcome, started_at, finished_at, worker, payload FROM attempt WHERE job = ? ORDER BY place
