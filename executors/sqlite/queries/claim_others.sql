-- Whether other processes hold jobs of a run.
SELECT 1 FROM claim WHERE run = ? AND session <> ? LIMIT 1
