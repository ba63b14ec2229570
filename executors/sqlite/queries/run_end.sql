-- A run has ended.
UPDATE run SET ended_at = ?, state = ?, retire_at = ?, deadline_at = NULL WHERE number = ?
