-- The jobs of a lane.
SELECT jobs FROM segment WHERE lane = ? ORDER BY place
