-- Whether other processes hold jobs of a run.
SELECT 1
FROM session CROSS JOIN claim ON claim.session = session.number AND claim.run = ?
WHERE session.number <> ? LIMIT 1
