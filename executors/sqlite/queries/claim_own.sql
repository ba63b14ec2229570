-- What a process holds of a run.
SELECT fence, jobs FROM claim WHERE session = ? AND run = ?
