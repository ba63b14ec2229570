-- Jobs whose time has come.
SELECT run, due_at, place, job FROM delayed WHERE due_at <= ? ORDER BY due_at LIMIT ?
