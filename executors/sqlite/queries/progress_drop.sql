-- A job is done again.
DELETE FROM progress WHERE job = ?
