-- Whether there are steps of which the other tables do not tell yet.
SELECT 1 FROM ahead LIMIT 1
