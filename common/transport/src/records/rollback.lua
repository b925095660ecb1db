-- KEYS record; ARGV payload, result, lease, audit_key, audit_entries, audit_event
-- The broker refused the only message of a job: unless a worker has it all the same, the job was
-- never submitted.
local known = redis.call('HMGET', KEYS[1], 'payload', 'attempts', 'ended')
if known[1] == ARGV[1] and not known[2] and not known[3]
  and redis.call('EXISTS', ARGV[2], ARGV[3]) == 0 then
  redis.call('DEL', KEYS[1])
  return note(ARGV[4], ARGV[5], ARGV[6])
end
return ''
