-- A queue has no rate any more.
UPDATE holding SET begun = 1 WHERE queue = ?
