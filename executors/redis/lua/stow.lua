-- Items of a list that is about to be expanded, where they are too many for one call: rows are set apart, and the items put
-- there. Answers the blocks as (first row, items) each; nothing if the job's lease is over.
-- KEYS: meta
-- ARGV: id job fence items first
-- REST: items from *first* on
-- include: prelude
-- include: records
-- include: lanes
-- include: limits
-- include: machine
-- include: lists
local run = run_of(id)
local record = run and record_of(run, tonumber(job))
if not record or record[STATE] ~= ACTIVE or record[FENCE] ~= tonumber(fence) then
  return {}
end
local list = cover(run, record, tonumber(items))
for place = rest, #ARGV do
  keep_item(run, base_of(run, list, tonumber(first) + place - rest), ARGV[place])
end
keep_list(run, list)
write_lists(run)
write_course(run)
return list.segments
