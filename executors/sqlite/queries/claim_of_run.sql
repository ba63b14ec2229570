-- Who holds the active jobs of a run.
SELECT granted_at, worker, jobs FROM claim WHERE run = ? ORDER BY fence
