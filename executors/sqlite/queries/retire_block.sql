-- A run goes.
DELETE FROM block WHERE run = ?
