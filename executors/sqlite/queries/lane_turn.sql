-- The lane's place among those that have jobs.
UPDATE lane SET turn = ? WHERE id = ?
