-- A job is done again.
DELETE FROM result WHERE id = ?
