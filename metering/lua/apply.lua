-- apply: add the deltas of one lane's records (from, to] to a partition, once.
-- KEYS 1 live    ARGV 1 epoch, 2 lane, 3 from, 4 to, then field, quantity, field, quantity, ...
-- Answers {status, epoch, position, checkpoint}. Quantities stay strings: Lua's numbers are doubles.
-- With from = to it counts nothing and only asks whether the partition still stands there.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'p:' .. ARGV[2], 'k:' .. ARGV[2])
local epoch, position, checkpoint = head[1] or '', head[2] or '0', head[3] or '0'
if epoch == '' or epoch ~= ARGV[1] then return {'epoch', epoch, position, checkpoint} end
if position ~= ARGV[3] then return {'gap', epoch, position, checkpoint} end
for i = 5, #ARGV, 2 do
  redis.call('HINCRBY', KEYS[1], ARGV[i], ARGV[i + 1])
end
if ARGV[3] ~= ARGV[4] then redis.call('HSET', KEYS[1], 'p:' .. ARGV[2], ARGV[4], 'dirty', '1') end
return {'ok', epoch, ARGV[4], checkpoint}
