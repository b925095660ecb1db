-- KEYS result, lease; ARGV result, keep_ms, owner, done_channel
-- The write comes first: a server without memory refuses it before anything has changed.
local answer = 'stored'
if not redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  -- The very same bytes are the writer's own, whose answer was lost.
  if redis.call('GET', KEYS[1]) ~= ARGV[1] then
    answer = 'exists'
  end
end
if redis.call('GET', KEYS[2]) == ARGV[3] then
  redis.call('DEL', KEYS[2])
end
if answer == 'stored' then
  redis.call('PUBLISH', ARGV[4], '1')
end
return answer
