-- The columns of all jobs of a run.
SELECT id, dense, sparse FROM chunk WHERE id >= ? AND id < ?
