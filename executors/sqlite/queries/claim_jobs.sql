-- The active jobs of a run.
SELECT jobs FROM claim WHERE run = ?
