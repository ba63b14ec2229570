-- Runs that wait for a place on a queue, by turns.
SELECT run FROM line WHERE queue = ? ORDER BY place
