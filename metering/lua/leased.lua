-- leased: what all lanes together hold of each account or slots.    KEYS the leases
local sums = {}
for i, key in ipairs(KEYS) do
  local sum, all = 0, redis.call('HGETALL', key)
  for j = 2, #all, 2 do
    local held = string.match(all[j], '^%d+ (%d+) %d+ %d+$')
    if all[j - 1] ~= '!' and held then sum = sum + tonumber(held) end
  end
  sums[i] = sum
end
return sums
