-- KEYS lease, record; ARGV owner, lease_ms, switches, then the fields of the switches that end such a job
-- A lease that is gone stays gone: a renewal that was under way while the job ended must not
-- restore it. The answer is who cancelled the job, or nothing.
if redis.call('GET', KEYS[1]) == ARGV[1] then
  redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
local known = redis.call('HMGET', KEYS[2], 'cancelled_by', 'started_at')
if known[1] or not ARGV[4] then
  return known[1]
end
local thrown = redis.call('HMGET', ARGV[3], unpack(ARGV, 4))
for at = 1, #thrown do
  local ms, by = string.match(thrown[at] or '', '^(%d+) (.*)$')
  -- What was started later is another matter.
  if ms and known[2] and tonumber(ms) >= tonumber(known[2]) then
    by = by .. ' (' .. ARGV[3 + at] .. ')'
    -- If this worker dies now, the job is not started again.
    redis.call('HSETNX', KEYS[2], 'cancelled_by', by)
    return by
  end
end
return false
