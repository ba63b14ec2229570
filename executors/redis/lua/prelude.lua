-- What all scripts share: the clock, the words, calls with many arguments.
-- define: WAITING_CHILDREN 0 WAITING 1 DELAYED 2 ACTIVE 3 COMPLETED 4 FAILED 5 SKIPPED 6 CANCELLED 7
-- define: CONTROL 65535 BUCKET 512 VALUES 64 FIRST_CALL 'DEL'
local call = redis.call
local floor, max, min = math.floor, math.max, math.min
local concat = table.concat
local pack, struct_unpack = struct.pack, struct.unpack

-- Every key of a shard begins with its tag, so all of them live in the slot of the one that is declared.
local P = string.sub(meta, 1, -5) -- without 'meta'

local CONTROL_QUEUE = 'flows:control'

-- The first key that a script touches is one that is never there. A node of a cluster that hands the slot over ends the script
-- at a key that it does not have (any more): here, before anything is written. And a server that is full lets a script go on
-- whose first write takes no room: so runs come to their ends. Scripts for new work say EXISTS, and are refused.
call(FIRST_CALL, P .. 'nowhere')

local moment = call('TIME')
local settings = call('HMGET', meta, 'shift', 'mark', 'turn', 'limited')
local now = moment[1] * 1000000 + moment[2] + (tonumber(settings[1]) or 0)
local is_limited = settings[4] ~= false -- whether any queue has ever had limits, or was paused
local fence_mark = tonumber(settings[2]) or 0
local turn, first_turn = tonumber(settings[3]) or 0, tonumber(settings[3]) or 0

-- Numbers that are stored or concatenated: tostring() would lose digits.
local function whole(number)
  return string.format('%.0f', number)
end

-- A command whose arguments may be many: in slices, as Lua's stack is small. *step* divides the slices.
local function many(command, key, arguments, step)
  local length = arguments.count or #arguments
  if length == 0 then
    return
  elseif length < 900 then
    call(command, key, unpack(arguments, 1, length))
    return
  end
  local slice = 900 - 900 % (step or 1)
  for first = 1, length, slice do
    call(command, key, unpack(arguments, first, min(length, first + slice - 1)))
  end
end

-- The same for HMGET; returns one table.
local function fetch(key, fields)
  if #fields <= 900 then
    return call('HMGET', key, unpack(fields))
  end
  local found = {}
  for first = 1, #fields, 900 do
    local part = call('HMGET', key, unpack(fields, first, min(#fields, first + 899)))
    for place = 1, #part do
      found[first + place - 1] = part[place]
    end
  end
  return found
end

local four_byte_formats = {}
-- The numbers of a string of packed u32, from *first* (counted from 1), *count* of them.
local function u32s(packed, first, count)
  local format = four_byte_formats[count]
  if not format then
    format = '<' .. string.rep('I4', count)
    four_byte_formats[count] = format
  end
  return { struct_unpack(format, packed, 4 * (first - 1) + 1) }
end
