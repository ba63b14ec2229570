-- The first deadline of a run.
SELECT min(deadline_at) FROM run WHERE deadline_at IS NOT NULL
