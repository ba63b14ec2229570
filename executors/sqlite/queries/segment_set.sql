-- What is left of a segment.
UPDATE segment SET jobs = ? WHERE lane = ? AND place = ?
