-- All jobs of a claim are settled.
DELETE FROM claim WHERE session = ? AND run = ? AND fence = ?
