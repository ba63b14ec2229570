-- Dead letters of a queue, newest first.
SELECT place, job FROM dead WHERE queue = ? AND place < ? ORDER BY place DESC LIMIT ?
