-- A job is done again, or somebody has seen to it.
DELETE FROM dead WHERE job = ?
