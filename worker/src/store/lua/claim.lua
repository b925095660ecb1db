-- KEYS result, lease, record
-- ARGV owner, lease_ms, max_attempts, keep_ms, ttl_ms, queued_at, alone, payload, purpose
-- Answers {what, number, milliseconds waited, by}. The clock is this server's alone.
local record = redis.call('HMGET', KEYS[3], 'ended', 'attempts', 'queued_at', 'cancelled_by', 'payload')
-- The id is another job's. A record without a payload is an older producer's or worker's: there the
-- first valid message defines the job.
if record[5] and record[5] ~= ARGV[8] then
  return {'twin', 0, 0, ''}
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'done', 0, 0, ''}
end
-- The result is past its time, but the job had one: what comes now is a late copy of its message.
if record[1] then
  return {'done', 0, 0, ''}
end
local attempts = tonumber(record[2] or '0')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- What was written down at the submission goes before what the producer's clock said.
local queued_at = tonumber(record[3] or ARGV[6])
local waited = queued_at and math.max(0, now - queued_at) or 0
local holder = redis.call('GET', KEYS[2])
-- The owner asks again because the answer was lost: it gets the same one, and no new count.
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return {'run', attempts, waited, ''}
end
if holder then
  local left = redis.call('PTTL', KEYS[2])
  -- No worker makes a lease without an end.
  if left < 0 then
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    left = tonumber(ARGV[2])
  end
  return {'busy', math.max(1, left), waited, ''}
end
if record[4] then
  return {'cancelled', attempts, waited, record[4]}
end
-- A job that was started in time is not expired when it comes again.
if attempts == 0 and waited > tonumber(ARGV[5]) then
  return {'expired', 0, waited, ''}
end
-- Who can't run it only asked, and neither counts nor defines anything.
if ARGV[9] == 'look' then
  return {'free', attempts, waited, ''}
end
if attempts >= tonumber(ARGV[3]) then
  return {'exhausted', attempts, waited, ''}
end
-- Nothing is counted for who has to make room first.
if attempts > 0 and attempts + 1 == tonumber(ARGV[3]) and ARGV[7] == '0' then
  return {'last', attempts, waited, ''}
end
redis.call('HSET', KEYS[3], 'attempts', attempts + 1, 'started_at', string.format('%.0f', now),
  'queued_at', string.format('%.0f', queued_at or now), 'payload', ARGV[8])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'run', attempts + 1, waited, ''}
