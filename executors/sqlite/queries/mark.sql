-- The newest fence and time.
SELECT mark FROM mark WHERE one = 1
