-- Take down the spans of attempts that are about to be settled, for who takes their results elsewhere: (job, fence, span) each.
-- KEYS: meta
-- ARGV: id spans
-- include: prelude
-- include: records
-- define: SPAN 8
local run = run_of(id)
local at = 1
while run and at <= #spans do
  local job, fence
  job, fence, at = struct_unpack('<I4d', spans, at)
  if record_of(run, job)[FENCE] == fence then -- else the settle will be refused
    call('SETRANGE', run.key .. ':t', job * SPAN, string.sub(spans, at, at + SPAN - 1))
  end
  at = at + SPAN
end
return 0
