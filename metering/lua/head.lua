-- head: the lineage of a partition, without its content.
-- KEYS 1 live, 2 drain    Answers {epoch, last, dirty, drain id, drain prev, drain epoch}, '' where absent.
local live = redis.call('HMGET', KEYS[1], 'epoch', 'last', 'dirty')
local drain = redis.call('HMGET', KEYS[2], 'id', 'last', 'epoch')
return {live[1] or '', live[2] or '', live[3] or '', drain[1] or '', drain[2] or '', drain[3] or ''}
