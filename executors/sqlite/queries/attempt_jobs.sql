-- The jobs of a run that have earlier attempts.
SELECT DISTINCT job FROM attempt WHERE job >= ? AND job < ?
