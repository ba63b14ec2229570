-- A run goes.
DELETE FROM segment WHERE lane IN (SELECT id FROM lane WHERE run = ?)
