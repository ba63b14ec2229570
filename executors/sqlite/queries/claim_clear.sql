-- A run has ended at once.
DELETE FROM claim WHERE run = ?
