-- Publish the limits of queues, as a worker knows them.
-- KEYS: meta
-- ARGV: limited
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
state_limits(limited)
write_tokens()
