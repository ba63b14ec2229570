-- A run holds a key.
INSERT OR REPLACE INTO key (key, run, number, name, fingerprint) VALUES (?, ?, ?, ?, ?)
