-- Jobs of a run that have lost a worker.
SELECT place, queue, job FROM suspect WHERE job >= ? AND job < ? ORDER BY place
