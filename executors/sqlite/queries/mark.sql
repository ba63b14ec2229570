-- The newest fence and time.
SELECT granted_at FROM claim WHERE session = 0 AND run = 0 AND fence = 0
