-- What stands in the results of jobs.
SELECT id, payload FROM result WHERE id IN (SELECT value FROM json_each(?))
