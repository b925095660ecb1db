-- KEYS none; ARGV audit_key, audit_entries, audit_event
-- Notes an event that is no step of a job's.
return note(ARGV[1], ARGV[2], ARGV[3])
