-- How many jobs of a claim are not settled.
UPDATE claim SET open = ? WHERE session = ? AND run = ? AND fence = ?
