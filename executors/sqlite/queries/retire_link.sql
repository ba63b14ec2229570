-- A run goes.
DELETE FROM link WHERE child >= ? AND child < ?
