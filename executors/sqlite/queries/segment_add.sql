-- Jobs that wait in a lane.
INSERT INTO segment (lane, place, jobs) VALUES (?, ?, ?)
