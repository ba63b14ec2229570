-- The time of a job has come.
DELETE FROM delayed WHERE run = ? AND due_at = ? AND place = ?
