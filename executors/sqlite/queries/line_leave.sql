-- A process is dead, or leaves.
DELETE FROM line WHERE session = ?
