-- The other tables tell of all steps.
DELETE FROM ahead
