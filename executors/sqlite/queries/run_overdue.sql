-- Runs whose deadline has passed.
SELECT number FROM run WHERE deadline_at <= ?
