-- The blocks of a list.
SELECT first, list, body, start, items, stride, links FROM block WHERE run = ? AND list = ? ORDER BY start
