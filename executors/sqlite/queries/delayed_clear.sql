-- The run has ended.
DELETE FROM delayed WHERE run = ?
