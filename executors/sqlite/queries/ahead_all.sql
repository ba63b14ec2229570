-- Steps of which the other tables do not tell yet.
SELECT fence, session, job, follower, claim, payload, started_at, finished_at, worker, at, until FROM ahead ORDER BY fence
