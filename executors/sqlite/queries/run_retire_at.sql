-- Until when a run is kept.
SELECT retire_at FROM run WHERE number = ?
