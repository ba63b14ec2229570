-- A run goes on.
UPDATE run SET ended_at = NULL, state = NULL, retire_at = NULL, deadline_at = ? WHERE number = ?
