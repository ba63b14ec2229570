-- The run has ended.
DELETE FROM segment WHERE lane = ?
