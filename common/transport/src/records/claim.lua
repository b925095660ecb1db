-- KEYS result, lease, record
-- ARGV owner, lease_ms, max_attempts, keep_ms, ttl_ms, queued_at, exclusive, payload, purpose, switches, usage_prefix,
-- account, its budgets of cpu_ms, jobs and bytes (empty for none), then the fields of the switches that hold such a job
-- Answers {what, number, milliseconds waited, by}. Only this server's clock counts.
local record = redis.call('HMGET', KEYS[3], 'ended', 'attempts', 'queued_at', 'cancelled_by', 'payload')
-- The id is another job's. A record without a payload was written by an older producer or worker:
-- there the first valid message defines the job.
if record[5] and record[5] ~= ARGV[8] then
  return {'twin', 0, 0, ''}
end
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'done', 0, 0, ''}
end
-- The result has expired, but the job had one: this is a late copy of its message.
if record[1] then
  return {'done', 0, 0, ''}
end
local attempts = tonumber(record[2] or '0')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- The time in the record goes before that of the producer's clock.
local queued_at = tonumber(record[3] or ARGV[6])
local waited = queued_at and math.max(0, now - queued_at) or 0
local holder = redis.call('GET', KEYS[2])
-- The owner repeats its claim because the answer was lost: the same answer, and no new count.
if holder == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return {'run', attempts, waited, ''}
end
if holder then
  local left = redis.call('PTTL', KEYS[2])
  -- A lease without a time to live was not written by a worker.
  if left < 0 then
    redis.call('PEXPIRE', KEYS[2], ARGV[2])
    left = tonumber(ARGV[2])
  end
  return {'busy', math.max(1, left), waited, ''}
end
if record[4] then
  return {'cancelled', attempts, waited, record[4]}
end
-- An operator holds such jobs back: nothing is counted, and they don't expire meanwhile.
if ARGV[16] then
  local held = redis.call('HMGET', ARGV[10], unpack(ARGV, 16))
  for at = 1, #held do
    if held[at] then
      return {'held', attempts, waited, ARGV[15 + at]}
    end
  end
end
-- A job that was started in time doesn't expire afterwards.
if attempts == 0 and waited > tonumber(ARGV[5]) then
  return {'expired', 0, waited, ''}
end
-- A look counts and defines nothing.
if ARGV[9] == 'look' then
  return {'free', attempts, waited, ''}
end
-- A budget of the day that is used up, by what was committed. Only before the first start: what was begun is finished.
if attempts == 0 then
  for at, name in ipairs({'cpu_ms', 'jobs', 'bytes'}) do
    local most = tonumber(ARGV[12 + at])
    if most then
      -- A count that can't be read refuses no job.
      local used = tonumber(redis.pcall('HGET', usage_key(ARGV[11], now), name .. ' ' .. ARGV[12]) or 0) or 0
      if used >= most then
        return {'over', used, waited, name .. ' ' .. string.format('%.0f', math.floor(now / 86400000))}
      end
    end
  end
end
if attempts >= tonumber(ARGV[3]) then
  return {'exhausted', attempts, waited, ''}
end
-- The last of several attempts has to be exclusive; nothing is counted until it is.
if attempts > 0 and attempts + 1 == tonumber(ARGV[3]) and ARGV[7] == '0' then
  return {'last', attempts, waited, ''}
end
redis.call('HSET', KEYS[3], 'attempts', attempts + 1, 'started_at', string.format('%.0f', now),
  'queued_at', string.format('%.0f', queued_at or now), 'payload', ARGV[8], 'account', ARGV[12])
redis.call('PEXPIRE', KEYS[3], ARGV[4])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'run', attempts + 1, waited, ''}
