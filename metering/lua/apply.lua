-- apply: add the deltas of one lane's records (from, to] to a partition, once.
-- KEYS 1 live    ARGV 1 epoch, 2 lane, 3 from, 4 to, 5 the deltas as metering/deltas.py packs them
-- Answers {status, epoch, position, checkpoint}.
-- With from = to it counts nothing and only asks whether the partition still stands there.
--
-- All or nothing. Redis refuses the first write of a script (no memory, read-only, a disk that
-- fails) or none of them, but it does not take back what was written before an error of a command's
-- own. Deltas without their position would be added again at every repetition. So everything is
-- reckoned before the first write, and the position is part of that.
local MOST = 4503599627370496  -- 2^52: below it Lua's doubles are exact, and every server writes them as integers
local AT_ONCE = 6000  -- arguments of one command; Lua has room for 8,000
local head = redis.call('HMGET', KEYS[1], 'epoch', 'p:' .. ARGV[2], 'k:' .. ARGV[2])
local epoch, position, checkpoint = head[1] or '', head[2] or '0', head[3] or '0'
if epoch == '' or epoch ~= ARGV[1] then return {'epoch', epoch, position, checkpoint} end
if position ~= ARGV[3] then return {'gap', epoch, position, checkpoint} end
if ARGV[3] == ARGV[4] then return {'ok', epoch, position, checkpoint} end

local repeated, groups = unpack(cmsgpack.unpack(ARGV[5]))
local fields, amounts, count = {}, {}, 0
for _, group in ipairs(groups) do
  local begin, route, plan, rows = group[1], group[2], group[3], group[4]
  for r = 1, #rows do
    local row = rows[r]
    for i = 1, #plan, 3 do
      local instance, rest, amount = plan[i], plan[i + 1], row[plan[i + 2]]
      if amount ~= 0 then
        count = count + 1
        fields[count] = begin .. row[1] .. '\31' .. (instance == 0 and '' or row[instance]) .. route .. rest
        amounts[count] = amount
      end
    end
  end
end

-- What to write, field by field; nil where a sum is too large for Lua.
local function summed()
  local told, n = {'p:' .. ARGV[2], ARGV[4], 'dirty', '1'}, 4
  local places = repeated and {}
  for first = 1, count, AT_ONCE do
    local last = math.min(first + AT_ONCE - 1, count)
    local had = redis.call('HMGET', KEYS[1], unpack(fields, first, last))
    for i = first, last do
      local field = fields[i]
      local place = places and places[field]
      local before = place and told[place] or tonumber(had[i - first + 1] or 0) or MOST
      local sum = before + amounts[i]
      if sum >= MOST then return nil end
      if not place then
        place, n = n + 2, n + 2
        told[place - 1] = field
        if places then places[field] = place end
      end
      told[place] = sum
    end
  end
  return told, n
end

local told, n = summed()
if told then
  for first = 1, n, AT_ONCE do
    redis.call('HSET', KEYS[1], unpack(told, first, math.min(first + AT_ONCE - 1, n)))
  end
  return {'ok', epoch, ARGV[4], checkpoint}
end

-- Up to int64, one by one: a sum above it, or a field that holds no number, is an error after other
-- writes. What was added is taken off again.
local function take_back(last)
  for i = 1, last do
    local left = redis.call('HINCRBY', KEYS[1], fields[i], '-' .. amounts[i])
    if left == 0 then redis.call('HDEL', KEYS[1], fields[i]) end
  end
end

for i = 1, count do
  amounts[i] = type(amounts[i]) == 'number' and string.format('%.0f', amounts[i]) or amounts[i]
  local done = redis.pcall('HINCRBY', KEYS[1], fields[i], amounts[i])
  if type(done) == 'table' then
    take_back(i - 1)
    return done
  end
end
local done = redis.pcall('HSET', KEYS[1], 'p:' .. ARGV[2], ARGV[4], 'dirty', '1')
if type(done) == 'table' then
  take_back(count)
  return done
end
return {'ok', epoch, ARGV[4], checkpoint}
