-- A job is not active any more.
DELETE FROM holding WHERE job = ?
