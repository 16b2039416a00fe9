-- apply: add the deltas of one lane's records (from, to] to a partition, once.
-- KEYS 1 live    ARGV 1 epoch, 2 lane, 3 from, 4 to, 5 the deltas as metering/deltas.py writes them
-- Answers {status, epoch, position, checkpoint}. Quantities stay strings: Lua's numbers are doubles.
-- With from = to it counts nothing and only asks whether the partition still stands there.
--
-- All or nothing. Redis refuses the first write of a script (no memory, read-only, a disk that
-- fails) or none of them, but it does not take back what was written before an error of a command's
-- own: a sum above int64, a field that holds no number, a user who may HINCRBY and not HSET. Deltas
-- without their position would be added again at every repetition. So each write is checked, and
-- what was added is taken off again; that costs nothing as long as nothing fails.
local head = redis.call('HMGET', KEYS[1], 'epoch', 'p:' .. ARGV[2], 'k:' .. ARGV[2])
local epoch, position, checkpoint = head[1] or '', head[2] or '0', head[3] or '0'
if epoch == '' or epoch ~= ARGV[1] then return {'epoch', epoch, position, checkpoint} end
if position ~= ARGV[3] then return {'gap', epoch, position, checkpoint} end

local fields, quantities, count = {}, {}, 0
for begin, rests in string.gmatch(ARGV[5], '([^\30]*)\30([^\29]*)\29') do
  for rest, quantity in string.gmatch(rests, '([^\30]*)\30([^\30]*)\30') do
    count = count + 1
    fields[count], quantities[count] = begin .. rest, quantity
  end
end

local function take_back(last)
  for i = 1, last do
    local left = redis.call('HINCRBY', KEYS[1], fields[i], '-' .. quantities[i])
    if left == 0 then redis.call('HDEL', KEYS[1], fields[i]) end
  end
end

for i = 1, count do
  local done = redis.pcall('HINCRBY', KEYS[1], fields[i], quantities[i])
  if type(done) == 'table' then
    take_back(i - 1)
    return done
  end
end
if ARGV[3] ~= ARGV[4] then
  local done = redis.pcall('HSET', KEYS[1], 'p:' .. ARGV[2], ARGV[4], 'dirty', '1')
  if type(done) == 'table' then
    take_back(count)
    return done
  end
end
return {'ok', epoch, ARGV[4], checkpoint}
