-- The number of a run.
SELECT number FROM run WHERE id = ?
