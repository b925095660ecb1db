-- KEYS output, lease, result; ARGV owner, attempt, keep_ms, max_entries, channel, then kind, offset
-- and bytes of each entry
-- Only the owner of the lease adds to the output, and nothing is added after the result: a reader
-- that has seen the result first then reads all output there is.
if redis.call('GET', KEYS[2]) ~= ARGV[1] or redis.call('EXISTS', KEYS[3]) == 1 then
  return 0
end
for at = 6, #ARGV, 3 do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[4], '*', 'attempt', ARGV[2],
    'kind', ARGV[at], 'offset', ARGV[at + 1], 'bytes', ARGV[at + 2])
end
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PUBLISH', ARGV[5], '1')
return 1
