-- The active jobs of a run.
SELECT claim.jobs
FROM session CROSS JOIN claim ON claim.session = session.number AND claim.run = ?
