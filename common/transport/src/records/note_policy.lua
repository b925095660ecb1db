-- KEYS policies; ARGV backend, hash, audit_key, audit_entries, audit_event
-- Notes which policy the fleet's sandboxes of this kind have, and an event if it was another. Answers nothing if it is the same, else
-- what is wrong with the audit.
local before = redis.call('HGET', KEYS[1], ARGV[1])
if before == ARGV[2] then
  return false
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[2])
return note(ARGV[3], ARGV[4], ARGV[5])
