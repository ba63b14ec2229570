-- How many jobs of a claim are not settled.
SELECT open FROM claim WHERE session = ? AND run = ? AND fence = ?
