-- KEYS switches; ARGV cancel_channel, by, fields that are set
-- Throws an operator's switches. By the server's clock: a kill ends what was started before it.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 3, #ARGV do
  redis.call('HSET', KEYS[1], ARGV[at], string.format('%.0f', now) .. ' ' .. ARGV[2])
end
-- No job's id: it says that every running job has to be looked at, and the switches too.
redis.call('PUBLISH', ARGV[1], '*')
return 1
