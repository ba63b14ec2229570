-- A job is tried once more.
DELETE FROM suspect WHERE place = ?
