-- Rows for items of a list.
INSERT INTO block (run, first, list, body, start, items, stride, links) VALUES (?, ?, ?, ?, ?, ?, ?, ?)
