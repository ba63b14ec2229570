-- All of a segment was taken.
DELETE FROM segment WHERE lane = ? AND place = ?
