-- The oldest ended runs of a flow, beyond so many.
SELECT number FROM (SELECT number, ended_at FROM run WHERE name = ? AND ended_at IS NOT NULL ORDER BY ended_at DESC LIMIT -1 OFFSET ?)
ORDER BY ended_at LIMIT ?
