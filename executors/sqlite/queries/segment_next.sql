-- The first jobs of a lane.
SELECT place, jobs FROM segment WHERE lane = ? ORDER BY place LIMIT 1
