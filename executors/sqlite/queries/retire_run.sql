-- A run goes.
DELETE FROM run WHERE number = ?
