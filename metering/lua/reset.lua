-- reset: start the partition again from the ledger's checkpoints; lanes replay what is after them.
-- KEYS 1 live, 2 drain, 3 quota, 4 lending
-- ARGV 1 epoch, 2 last, 3 now in ms ('' for this server's own time), 4 for how long at most nothing is lent
--      (0: nobody can hold anything), 5 for how long at least, 6 how many lanes must say what they hold
--      before, then these, then lane, checkpoint, ...
-- What leases stand there stay: at worst they are too old, and brake too much.
redis.call('DEL', KEYS[1], KEYS[2], KEYS[3], KEYS[4])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'last', ARGV[2], 'committed', ARGV[2])
local waited = tonumber(ARGV[6])
for i = 7 + waited, #ARGV, 2 do
  redis.call('HSET', KEYS[1], 'p:' .. ARGV[i], ARGV[i + 1], 'k:' .. ARGV[i], ARGV[i + 1])
end
if ARGV[4] == '0' then return 1 end
local now = tonumber(ARGV[3])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end
redis.call('HSET', KEYS[4], 's', string.format('%.0f', now + ARGV[4]), 'm', string.format('%.0f', now + ARGV[5]))
for i = 7, 6 + waited do redis.call('HSET', KEYS[4], 'w:' .. ARGV[i], '1') end
return 1
