-- Jobs that wait for their time.
SELECT job FROM delayed
