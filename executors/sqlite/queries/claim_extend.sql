-- A lease goes on.
UPDATE claim SET until = ? WHERE fence = ? AND until IS NOT NULL
