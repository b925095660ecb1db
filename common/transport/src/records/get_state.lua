-- KEYS result, lease, record; ARGV fields of the record
return {
  redis.call('GET', KEYS[1]), redis.call('GET', KEYS[2]),
  redis.call('HMGET', KEYS[3], unpack(ARGV)),
}
