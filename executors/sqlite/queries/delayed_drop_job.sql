-- A job need not wait any longer.
DELETE FROM delayed WHERE job = ?
