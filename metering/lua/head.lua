-- head: the lineage of a partition, without its content.
-- KEYS 1 live, 2 drain
-- Answers {epoch, last, committed, dirty, drain id, drain prev, drain epoch}, '' where absent.
local live = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'committed', 'dirty')
local drain = redis.call('HMGET', KEYS[2], 'id', 'last', 'epoch')
local head = {}
for i = 1, 4 do head[i] = live[i] or '' end
for i = 1, 3 do head[i + 4] = drain[i] or '' end
return head
