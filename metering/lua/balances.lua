-- balances: what the ledger says of accounts, unless something newer stands there already.
-- KEYS 1 live, 2 quota    ARGV 1 epoch, then account, version, balance, ... Answers 1, or 0 for another epoch.
-- A balance is JSON: [version, as of, [[package, quota, left, expires], ...]]
if redis.call('HGET', KEYS[1], 'epoch') ~= ARGV[1] then return 0 end
for i = 2, #ARGV, 3 do
  local field = 'b:' .. ARGV[i]
  local there = redis.call('HGET', KEYS[2], field)
  if not there or cjson.decode(there)[1] < tonumber(ARGV[i + 1]) then
    redis.call('HSET', KEYS[2], field, ARGV[i + 2])
  end
end
return 1
