-- Look at what stands under a job-level key, in the shard that keeps it, and reserve it for a job of any shard where that is free to
-- do. Answers who owns it, in which shard and row, and what it says. What is filed later must come from the newest attempt.
-- KEYS: meta
-- ARGV: shard id job name fence key digest instead_run instead_job
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
local shared = P .. 'h:' .. key
local found = call('HMGET', shared, 'run', 'name', 'row', 'digest', 'done', 'value', 'shard', 'fence')
local mine = found[1] == id and found[2] == name
local yields = found[1] == instead_run and found[2] == instead_job
local late = mine and tonumber(fence) < tonumber(found[8])
if not late and not found[5] and (not found[1] or mine or yields) then
  call('HSET', shared, 'run', id, 'name', name, 'row', job, 'digest', digest, 'shard', shard, 'fence', fence)
  found = { id, name, job, digest, false, false, shard }
end
return { found[1], found[2], found[4], found[5] and 1 or 0, found[6] or '', tonumber(found[7]), tonumber(found[3]) }
