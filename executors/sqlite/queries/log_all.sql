-- What a handler logged.
SELECT line FROM log WHERE job = ? ORDER BY place
