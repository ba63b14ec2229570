-- The items of a list.
SELECT payload FROM item WHERE list = ? ORDER BY place
