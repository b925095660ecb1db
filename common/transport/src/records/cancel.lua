-- KEYS result, lease, record; ARGV result, keep_ms, by, done_channel, cancel_channel, job, announced_bytes
if redis.call('EXISTS', KEYS[1]) == 1 then
  return 'ended'
end
if redis.call('HEXISTS', KEYS[3], 'ended') == 1 then
  return 'ended'
end
if redis.call('EXISTS', KEYS[2]) == 1 then
  -- The mark decides: every later renewal or claim of the job reads it.
  redis.call('HSETNX', KEYS[3], 'cancelled_by', ARGV[3])
  redis.call('PUBLISH', ARGV[5], ARGV[6])
  return 'running'
end
if redis.call('EXISTS', KEYS[3]) == 0 then
  return 'unknown'
end
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[3], 'ended', 'cancelled')
redis.call('HDEL', KEYS[3], 'metadata')
redis.call('PUBLISH', ARGV[4], #ARGV[1] <= tonumber(ARGV[7]) and ARGV[1] or '1')
return 'cancelled'
