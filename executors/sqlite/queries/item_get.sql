-- An item of a list.
SELECT payload FROM item WHERE list = ? AND place = ?
