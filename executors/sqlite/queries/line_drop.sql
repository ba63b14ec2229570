-- A run waits no longer.
DELETE FROM line WHERE queue = ? AND run = ?
