-- A queue is paused, or goes on.
UPDATE queue SET paused = ? WHERE name = ?
