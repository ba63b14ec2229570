-- The queues in the order in which they are looked at.
SELECT name FROM queue ORDER BY turn
