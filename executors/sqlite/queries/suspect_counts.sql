-- How many jobs that have lost a worker wait in each queue.
SELECT queue, count(*) FROM suspect GROUP BY queue
