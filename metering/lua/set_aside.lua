-- set aside: live becomes drain under a new id; a fresh live keeps epoch and positions.
-- KEYS 1 live, 2 drain    ARGV 1 epoch, 2 last, 3 new id    Answers 1 when done, 0 when something moved.
-- `committed` is the newest id that the ledger is known to hold: a caller who knows `last` has read it there.
if redis.call('EXISTS', KEYS[2]) == 1 then return 0 end
local live = redis.call('HMGET', KEYS[1], 'epoch', 'last')
if live[1] ~= ARGV[1] or live[2] ~= ARGV[2] then return 0 end
redis.call('RENAME', KEYS[1], KEYS[2])
redis.call('HSET', KEYS[2], 'id', ARGV[3])
redis.call('HSET', KEYS[1], 'epoch', ARGV[1], 'last', ARGV[3], 'committed', ARGV[2])
local all = redis.call('HGETALL', KEYS[2])
for i = 1, #all, 2 do
  local kind = string.sub(all[i], 1, 2)
  if kind == 'p:' or kind == 'k:' then redis.call('HSET', KEYS[1], all[i], all[i + 1]) end
end
return 1
