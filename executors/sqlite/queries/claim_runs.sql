-- Runs with active jobs.
SELECT DISTINCT run FROM claim
