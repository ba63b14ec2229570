-- The newest fence and time.
UPDATE mark SET mark = ? WHERE one = 1
