-- How many dead letters each queue has.
SELECT queue, count(*) FROM dead GROUP BY queue
