-- KEYS record, cancelled; ARGV result, keep_ms, by, cancel_channel, job, result_key, lease_key,
-- audit_key, audit_entries, audit_event. Answers {how it is, what is wrong with the audit}.
-- A producer runs this, who may not write a result: that of a queued job goes to a key of its own, which only counts
-- if it says that the job was cancelled. It is not announced, since a producer may announce no result either.
if redis.call('EXISTS', ARGV[6]) == 1 then
  return {'ended', ''}
end
if redis.call('HEXISTS', KEYS[1], 'ended') == 1 then
  return {'ended', ''}
end
if redis.call('EXISTS', ARGV[7]) == 1 then
  -- The mark decides: every later renewal or claim of the job reads it.
  redis.call('HSETNX', KEYS[1], 'cancelled_by', ARGV[3])
  redis.call('PUBLISH', ARGV[4], ARGV[5])
  return {'running', note(ARGV[8], ARGV[9], ARGV[10])}
end
if redis.call('EXISTS', KEYS[1]) == 0 then
  return {'unknown', ''}
end
redis.call('SET', KEYS[2], ARGV[1], 'PX', ARGV[2])
redis.call('HSET', KEYS[1], 'ended', 'cancelled')
redis.call('HDEL', KEYS[1], 'metadata', 'traceparent', 'tracestate')
return {'cancelled', note(ARGV[8], ARGV[9], ARGV[10])}
