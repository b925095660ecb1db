-- KEYS none; ARGV result, cancelled, lease, record, then fields of the record
return {
  redis.call('GET', ARGV[1]), redis.call('GET', ARGV[2]), redis.call('GET', ARGV[3]),
  redis.call('HMGET', ARGV[4], unpack(ARGV, 5)),
}
