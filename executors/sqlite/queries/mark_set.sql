-- The newest fence and time.
UPDATE claim SET granted_at = ? WHERE session = 0 AND run = 0 AND fence = 0
