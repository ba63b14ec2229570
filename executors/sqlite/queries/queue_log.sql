-- The starts that count against a queue's rate.
UPDATE queue SET log = ? WHERE name = ?
