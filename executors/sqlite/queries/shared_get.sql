-- What stands under a key of jobs.
SELECT run, job_id, job, digest, done, payload, free_at FROM shared WHERE key = ?
