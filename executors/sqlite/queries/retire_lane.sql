-- A run goes.
DELETE FROM lane WHERE run = ?
