-- KEYS switches; ARGV cancel_channel, by, field, audit_key, audit_entries, audit_event
-- Throws an operator's switch. By the server's clock: a kill ends what was started before it. Answers what is wrong with the
-- audit.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', KEYS[1], ARGV[3], string.format('%.0f', now) .. ' ' .. ARGV[2])
-- No job's id: it says that every running job has to be looked at, and the switches too.
redis.call('PUBLISH', ARGV[1], '*')
return note(ARGV[4], ARGV[5], ARGV[6])
