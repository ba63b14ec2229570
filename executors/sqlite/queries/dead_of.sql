-- The dead letters of a run.
SELECT job FROM dead WHERE job >= ? AND job < ?
