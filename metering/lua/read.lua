-- read: both hashes of a partition at one instant.
-- KEYS 1 live, 2 drain
return {redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}
