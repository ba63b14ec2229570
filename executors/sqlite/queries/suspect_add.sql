-- A job that has lost its worker.
INSERT INTO suspect (place, queue, job) VALUES (?, ?, ?)
