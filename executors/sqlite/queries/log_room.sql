-- So many bytes for the write-ahead log, in a step that is undone.
INSERT INTO journal (id, entries) VALUES (-1, zeroblob(?))
