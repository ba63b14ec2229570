-- A run waits for a place on a queue, behind the others.
INSERT OR REPLACE INTO line (queue, run, session, place) VALUES (?, ?, ?, ?)
