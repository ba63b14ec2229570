-- The start of a job has been counted.
UPDATE holding SET begun = 1 WHERE job = ?
