-- Runs whose deadline has passed are cancelled.
UPDATE run SET deadline_at = NULL WHERE deadline_at <= ?
