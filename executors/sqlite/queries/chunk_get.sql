-- The columns of 128 jobs.
SELECT dense, sparse FROM chunk WHERE id = ?
