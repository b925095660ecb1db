-- KEYS switches; ARGV cancel_channel, field, audit_key, audit_entries, audit_event
-- Takes a switch back. Answers {how many there were, what is wrong with the audit}.
local removed = redis.call('HDEL', KEYS[1], ARGV[2])
redis.call('PUBLISH', ARGV[1], '*')
if removed == 0 then
  return {0, ''}
end
return {removed, note(ARGV[3], ARGV[4], ARGV[5])}
