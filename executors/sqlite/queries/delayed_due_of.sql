-- Jobs of a run whose time has come.
SELECT run, due_at, place, job FROM delayed WHERE run = ? AND due_at <= ? ORDER BY due_at, place LIMIT ?
