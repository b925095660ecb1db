-- KEYS record; ARGV payload, keep_ms, result, lease, audit_key, audit_entries, audit_event, then names and values of fields
-- KEYS are only the keys that are written: Redis wants a user of EVALSHA to have the right to write all of them.
-- Creates a job's record. The answer says whether a message of the job is still needed, since when the job waits, what
-- is wrong with the audit, and the trace that it was submitted in before.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local known = redis.call('HMGET', KEYS[1], 'payload', 'queued_at', 'ended', 'traceparent', 'tracestate')
local queued_at = tonumber(known[2]) or now
if known[1] and known[1] ~= ARGV[1] then
  return {'conflict', queued_at, '', '', ''}
end
if known[3] or redis.call('EXISTS', ARGV[3]) == 1 then
  return {'ended', queued_at, '', '', ''}
end
local answer, unnoted = 'waiting', ''
-- A record without a payload was written by an older producer or worker. Its first message may be
-- under way, so the first claim decides which job this is.
if redis.call('EXISTS', KEYS[1]) == 0 then
  answer = 'new'
  redis.call('HSET', KEYS[1], 'payload', ARGV[1], 'queued_at', string.format('%.0f', queued_at),
    unpack(ARGV, 8))
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
  unnoted = note(ARGV[5], ARGV[6], ARGV[7])
end
if redis.call('EXISTS', ARGV[4]) == 1 then
  answer = 'running'
end
return {answer, queued_at, unnoted, known[4] or '', known[5] or ''}
