-- The newest run that has ended of a flow, but for so many.
SELECT ended_at, number FROM run WHERE name = ? AND ended_at IS NOT NULL ORDER BY ended_at DESC, number DESC LIMIT 1 OFFSET ?
