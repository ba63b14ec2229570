-- What was submitted, but for its jobs.
SELECT run.id, run.key, run.name, header.header, header.store, header.bodies FROM run JOIN header ON header.run = run.number
WHERE run.number = ?
