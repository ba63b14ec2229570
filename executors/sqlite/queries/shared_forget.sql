-- The run has ended: what its jobs have reserved and not filed is free.
DELETE FROM shared WHERE run = ? AND done = 0
