-- What has happened to a run in some steps.
INSERT INTO journal (id, entries) VALUES (?, ?)
