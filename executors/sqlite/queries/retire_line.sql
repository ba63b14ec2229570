-- A run goes.
DELETE FROM line WHERE run = ?
