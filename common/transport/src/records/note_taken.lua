-- KEYS taken; ARGV keep_ms, then pairs of a queue and when the last job taken from it was submitted, in Unix milliseconds.
-- Only this server's clock counts: a time in the future would say of jobs still to come that they were taken.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 2, #ARGV, 2 do
  local at = math.min(tonumber(ARGV[i + 1]), now)
  local known = tonumber(redis.call('HGET', KEYS[1], ARGV[i]) or '0') or 0
  if at > known then
    redis.call('HSET', KEYS[1], ARGV[i], string.format('%.0f', at))
  end
end
redis.call('PEXPIRE', KEYS[1], ARGV[1])
return 1
