-- What a step changes of a run.
UPDATE run SET size = ?, open = ?, turn = ?, kinds = ?, growing = ?, openings = ?, cancelling = ?, reason = ?, entries = ?,
    tail = ?, tail_from = ?
WHERE number = ?
