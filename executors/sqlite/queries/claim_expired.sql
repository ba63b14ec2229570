-- Leases that have expired.
SELECT session, run, fence, worker, granted_at, jobs FROM claim WHERE until <= ? ORDER BY +run, fence
