-- File earlier attempts of jobs that will be done again; nobody sees them until the run is reopened.
-- KEYS: meta
-- ARGV: id
-- REST: fields and values
-- define: FIRST_CALL 'EXISTS'
-- include: prelude
if call('EXISTS', P .. 'r:' .. id) == 1 then
  many('HSET', P .. 'r:' .. id .. ':a', { count = #ARGV - rest + 1, unpack(ARGV, rest) }, 2)
end
return 1
