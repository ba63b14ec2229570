-- A queue has no limits any more.
DELETE FROM holding WHERE queue = ?
