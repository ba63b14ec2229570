-- How many places of a queue are taken.
SELECT count(*) FROM holding WHERE queue = ?
