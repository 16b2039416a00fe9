-- reset: start the partition again from the ledger's checkpoints; lanes replay what is after them.
-- KEYS 1 live, 2 drain    ARGV 1 epoch, 2 last, then lane, checkpoint, ...
redis.call('DEL', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'last', ARGV[2], 'committed', ARGV[2])
for i = 3, #ARGV, 2 do
  redis.call('HSET', KEYS[1], 'p:' .. ARGV[i], ARGV[i + 1], 'k:' .. ARGV[i], ARGV[i + 1])
end
return 1
