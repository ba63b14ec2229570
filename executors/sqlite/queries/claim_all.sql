-- What is granted.
SELECT run, fence, jobs FROM claim WHERE session > 0
