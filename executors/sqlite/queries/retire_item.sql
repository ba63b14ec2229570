-- A run goes.
DELETE FROM item WHERE list >= ? AND list < ?
