-- Dead letters, newest first.
SELECT place, job FROM dead WHERE place < ? ORDER BY place DESC LIMIT ?
