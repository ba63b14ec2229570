-- A run is forgotten: what it had reserved under a job-level key, and not filed, is free.
-- KEYS: meta
-- ARGV: id key
-- include: prelude
local shared = P .. 'h:' .. key
local found = call('HMGET', shared, 'run', 'done')
if found[1] == id and not found[2] then
  call('UNLINK', shared)
end
return 1
