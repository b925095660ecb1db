-- KEYS record; ARGV result, cancelled, lease, output, keep_ms, audit_key, audit_entries, audit_event
-- Deletes what is kept of a job, but for its end: a copy of its message that is still in a queue must not run. Answers {how it
-- is, what is wrong with the audit}.
if redis.call('EXISTS', ARGV[3]) == 1 then
  return {'running', ''}
end
local fields = redis.call('HLEN', KEYS[1])
local ended = redis.call('HGET', KEYS[1], 'ended')
local rest = redis.call('EXISTS', ARGV[1], ARGV[2], ARGV[4])
if rest == 0 and (fields == 0 or (ended and fields == 1)) then
  return {'unknown', ''}
end
-- What has a time to live keeps it: a message may be left for as long.
local left = redis.call('PTTL', KEYS[1])
redis.call('DEL', ARGV[1], ARGV[2], ARGV[4], KEYS[1])
redis.call('HSET', KEYS[1], 'ended', ended or 'cancelled')
redis.call('PEXPIRE', KEYS[1], math.max(left, tonumber(ARGV[5])))
return {ended and 'deleted' or 'withdrawn', note(ARGV[6], ARGV[7], ARGV[8])}
