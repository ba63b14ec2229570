-- Who holds what of a run.
SELECT fence, session, jobs FROM claim WHERE run = ?
