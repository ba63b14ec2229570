-- Jobs that have lost a worker.
SELECT place, queue, job FROM suspect ORDER BY place
