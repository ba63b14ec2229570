-- An item of a list.
INSERT OR REPLACE INTO item (list, place, payload) VALUES (?, ?, ?)
