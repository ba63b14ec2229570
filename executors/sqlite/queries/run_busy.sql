-- The runs that have open jobs: some job of each waits, is delayed or is granted.
SELECT run FROM lane WHERE turn IS NOT NULL UNION SELECT run FROM delayed UNION SELECT run FROM claim WHERE session > 0
    UNION SELECT job >> 27 FROM suspect
