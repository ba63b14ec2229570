-- The block that a row of a run may be in.
SELECT first, list, body, start, items, stride, links FROM block
WHERE run = ? AND first <= ? ORDER BY first DESC LIMIT 1
