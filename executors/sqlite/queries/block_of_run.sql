-- The blocks of all lists of a run.
SELECT first, list, body, start, items, stride, links FROM block WHERE run = ? ORDER BY first
