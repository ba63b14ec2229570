-- The places of the first and the last segment of a lane.
SELECT (SELECT min(place) FROM segment WHERE lane = ?), (SELECT max(place) FROM segment WHERE lane = ?)
