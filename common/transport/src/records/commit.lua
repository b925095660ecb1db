-- Ends a job, with a purpose: 'run' for the result of a run, 'refuse' for that of a job which isn't
-- run (rejected, expired, cancelled, exhausted, a dead letter).
-- KEYS result, lease, record
-- ARGV result, keep_ms, owner, done_channel, status, remember_ms, announced_bytes, purpose, payload,
-- usage_prefix, cpu_ms, bytes, usage_keep_ms, usage_fields
local known = redis.call('HMGET', KEYS[3], 'ended', 'payload', 'account')
if ARGV[8] == 'refuse' then
  -- The id is another job's, so this message says nothing about it.
  if known[2] and known[2] ~= ARGV[9] then
    return 'twin'
  end
  -- A worker runs the job: its result is about to come, or the lease expires.
  if redis.call('EXISTS', KEYS[2]) == 1 and redis.call('EXISTS', KEYS[1]) == 0 then
    return 'busy'
  end
end
-- The write comes first: a server without memory refuses it before anything has changed.
local answer, is_first = 'stored', false
if known[1] and redis.call('EXISTS', KEYS[1]) == 0 then
  -- There was one, and it has expired.
  answer = 'exists'
elseif redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  is_first = true
-- The same bytes: the writer repeats its commit because the answer was lost.
elseif redis.call('GET', KEYS[1]) ~= ARGV[1] then
  answer = 'exists'
end
if redis.call('GET', KEYS[2]) == ARGV[3] then
  redis.call('DEL', KEYS[2])
end
if answer == 'stored' then
  -- What stays is small, and outlives every copy of the job's message.
  redis.call('HSET', KEYS[3], 'ended', ARGV[5])
  if ARGV[8] == 'refuse' then
    redis.call('HSETNX', KEYS[3], 'payload', ARGV[9])
  end
  redis.call('HDEL', KEYS[3], 'metadata', 'queue', 'started_at', 'account', 'traceparent', 'tracestate')
  redis.call('PEXPIRE', KEYS[3], ARGV[6])
  -- A short result is announced itself, which saves the waiting producer a read.
  redis.call('PUBLISH', ARGV[4], #ARGV[1] <= tonumber(ARGV[7]) and ARGV[1] or '1')
end
-- What its tenant used: once a job, in the step that stores its one result. Whatever is wrong with the counts, the result is
-- stored.
if is_first and ARGV[8] == 'run' then
  local time = redis.call('TIME')
  local key, account = usage_key(ARGV[10], time[1] * 1000), known[3] or '(none)'
  local fields = redis.pcall('HLEN', key)
  if type(fields) == 'number' and fields >= tonumber(ARGV[14])
    and redis.pcall('HEXISTS', key, 'jobs ' .. account) == 0 then
    account = '(others)'
  end
  redis.pcall('HINCRBY', key, 'jobs ' .. account, 1)
  redis.pcall('HINCRBY', key, 'cpu_ms ' .. account, ARGV[11])
  redis.pcall('HINCRBY', key, 'bytes ' .. account, ARGV[12])
  redis.pcall('PEXPIRE', key, ARGV[13])
end
return answer
