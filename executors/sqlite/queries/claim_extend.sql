-- A lease goes on.
UPDATE claim SET until = ? WHERE session = ? AND run = ? AND fence = ? AND until IS NOT NULL
