-- Look at what stands under a job-level key, and reserve it for a job where that is free to do. Answers who owns it, what it says,
-- and the state of the owner's job; -1 where that is gone.
-- KEYS: meta
-- ARGV: id job name key digest instead_run instead_job
-- include: prelude
-- include: records
local shared = P .. 'h:' .. key
local found = call('HMGET', shared, 'run', 'name', 'row', 'digest', 'done', 'value')
local mine = found[1] == id and found[2] == name
local yields = found[1] == instead_run and found[2] == instead_job
if not found[1] or (not found[5] and (mine or yields)) then
  call('HSET', shared, 'run', id, 'name', name, 'row', job, 'digest', digest)
  call('SADD', P .. 'r:' .. id .. ':k', key)
  call('SREM', shared .. ':waiting', member_of({ members = {}, names = {}, prefix = id .. ':' }, tonumber(job)))
  found = { id, name, job, digest, false, false }
elseif not found[5] then
  call('SADD', shared .. ':waiting', member_of({ members = {}, names = {}, prefix = id .. ':' }, tonumber(job)))
  call('EXPIRE', shared .. ':waiting', 86400)
end
local owner = run_of(found[1])
local state = owner and record_of(owner, tonumber(found[3]))[STATE] or -1
return { found[1], found[2], found[4], found[5] and 1 or 0, found[6] or '', state }
