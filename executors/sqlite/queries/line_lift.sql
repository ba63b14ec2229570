-- A queue has no limits any more.
DELETE FROM line WHERE queue = ?
