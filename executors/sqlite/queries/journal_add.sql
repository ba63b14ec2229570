-- What has happened to a run in a step.
INSERT INTO journal (id, entries) VALUES (?, ?)
