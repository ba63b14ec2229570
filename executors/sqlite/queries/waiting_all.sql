-- The jobs that wait for the result under a key.
SELECT job FROM shared_waiting WHERE key = ?
