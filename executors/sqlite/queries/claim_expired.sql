-- Leases that have expired.
SELECT fence, run, worker, granted_at, jobs FROM claim WHERE until <= ? ORDER BY +run, fence
