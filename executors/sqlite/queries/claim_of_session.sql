-- What a process holds.
SELECT fence, run, worker, granted_at, jobs FROM claim WHERE session = ? ORDER BY fence
