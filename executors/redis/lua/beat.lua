-- A worker lives, and serves these queues: until it is taken for dead, or says so again.
-- KEYS: meta
-- ARGV: name queues lasts
-- include: prelude
call('HSET', P .. 'served', name, queues)
call('ZADD', P .. 'workers', whole(now + tonumber(lasts)), name)
