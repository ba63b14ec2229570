-- The newest fence and time.
SELECT max(granted_at, coalesce((SELECT max(fence) FROM ahead), 0)) FROM claim WHERE session = 0 AND run = 0 AND fence = 0
