-- spent: what is spent of rates, as lend wrote it: '<debt> <since>' each, empty for none.
-- KEYS the rates
local found = {}
for i, key in ipairs(KEYS) do
  found[i] = redis.call('GET', key) or ''
end
return found
