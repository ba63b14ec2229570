-- How far a handler is.
SELECT value FROM progress WHERE job = ?
