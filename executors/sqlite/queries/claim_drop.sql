-- All jobs of a claim are settled.
DELETE FROM claim WHERE fence = ?
