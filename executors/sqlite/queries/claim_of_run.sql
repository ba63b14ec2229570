-- Who holds the active jobs of a run.
SELECT claim.granted_at, claim.worker, claim.jobs
FROM session CROSS JOIN claim ON claim.session = session.number AND claim.run = ?
ORDER BY claim.fence
