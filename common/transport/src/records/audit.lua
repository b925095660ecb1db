-- Before a script that notes an event for `sandfleet audit`. Gives what is wrong with that, or an empty text: whatever it is,
-- the step that is told of goes on.
local function note(key, entries, event)
  if entries == '0' then
    return ''
  end
  local noted = redis.pcall('XADD', key, 'MAXLEN', '~', entries, '*', 'event', event)
  return type(noted) == 'table' and noted.err or ''
end
