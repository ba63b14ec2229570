-- What has happened to a run at last.
SELECT tail, tail_from FROM run WHERE number = ?
