-- A process is dead.
DELETE FROM session WHERE number = ?
