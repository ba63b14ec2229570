-- One run, as in a listing.
SELECT number, id, key, name, state, submitted_at, ended_at, size, open, kinds, retire_at FROM run WHERE number = ?
