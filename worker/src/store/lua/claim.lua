-- KEYS result, lease, attempts; ARGV owner, lease_ms, max_attempts, keep_ms
if redis.call('EXISTS', KEYS[1]) == 1 then
  return {'done', 0}
end
local attempts = tonumber(redis.call('GET', KEYS[3]) or '0')
-- The owner asks again because the answer was lost: it gets the same one, and no new count.
if redis.call('GET', KEYS[2]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[2], ARGV[2])
  return {'run', attempts}
end
local lease_left = redis.call('PTTL', KEYS[2])
if lease_left > 0 then
  return {'busy', lease_left}
end
if attempts >= tonumber(ARGV[3]) then
  return {'exhausted', attempts}
end
redis.call('SET', KEYS[3], attempts + 1, 'PX', ARGV[4])
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
return {'run', attempts + 1}
