-- A queue has given jobs: others come first now.
UPDATE queue SET turn = ? WHERE name = ?
