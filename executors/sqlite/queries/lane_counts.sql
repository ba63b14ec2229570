-- How many jobs wait in each queue.
SELECT queue, sum(length(jobs)) / 4 FROM lane JOIN segment ON segment.lane = lane.id WHERE turn IS NOT NULL GROUP BY queue
