-- What was submitted of a run as a whole, for its workers.
SELECT header FROM header WHERE run = ?
