-- What a process holds.
SELECT session, run, fence, worker, granted_at, jobs FROM claim WHERE session = ? ORDER BY fence
