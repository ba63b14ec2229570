-- What an active job uses of its queue's limits.
SELECT queue, begun FROM holding WHERE job = ?
