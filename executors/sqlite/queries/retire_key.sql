-- A run goes, its key stays.
UPDATE key SET number = NULL WHERE number = ?
