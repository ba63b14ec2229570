-- A run goes.
DELETE FROM header WHERE run = ?
