-- KEYS lease, record; ARGV owner, lease_ms
-- A lease that is gone stays gone: a renewal that was under way while the job ended must not
-- restore it. The answer is who cancelled the job, or nothing.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return redis.call('HGET', KEYS[2], 'cancelled_by')
