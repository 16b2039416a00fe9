-- drop drain: the set-aside is in the ledger; delete it and tell the lanes their checkpoints.
-- KEYS 1 live, 2 drain    ARGV 1 drain id, 2 epoch, then lane, checkpoint, ...    Answers 1 when deleted.
if redis.call('HGET', KEYS[2], 'id') ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[2])
local live = redis.call('HMGET', KEYS[1], 'epoch', 'last')
if live[1] ~= ARGV[2] then return 1 end
for i = 3, #ARGV, 2 do redis.call('HSET', KEYS[1], 'k:' .. ARGV[i], ARGV[i + 1]) end
if live[2] == ARGV[1] then redis.call('HSET', KEYS[1], 'committed', ARGV[1]) end
return 1
