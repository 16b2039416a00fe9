-- lend: what one lane holds of packages and slots, and what it gets of them and of rates. See lending.py.
-- KEYS 1 live, 2 quota, 3 lending, then the lease or rate of each ask, in their order
-- ARGV 1 now in ms ('' for this server's own time), 2 lane, 3 epoch, 4 turn, 5 the checkpoint that the lane
--      reckons with, 6 the newest serial it was told, 7 '1' if these are all packages it holds here,
--      8 a package's life, 9 a slot's life, 10 settling time, 11 how long leases that hold something are
--      kept; then six for each ask:
--        p held want least account ''    s held want most '' ''    r units period burst owed want
-- Answers {serial, then for each ask {state, granted, left, wanted, retry ms, life ms}}.
--
-- A lease: field = lane, value = "turn held till noticed". What is lent is never written but what the
-- lane holds from then on, so a message may be lost, repeated or late. Field '!' is the lane that was
-- refused last, and until when it is remembered.
-- quota: b:<account> is its balance (balances.lua). lending: n the serial, h:<lane> until when the lane may
-- hold packages; while it settles: s until when at most, m until when at least, w:<lane> who has not said
-- yet what it holds, e whether s was put off.
-- All numbers here are below 2^53, in which doubles are exact; a balance above that counts as that.
local MOST = 9007199254740992
local lane, epoch, turn, whole = ARGV[2], ARGV[3], tonumber(ARGV[4]), ARGV[7] == '1'
local PACKAGE_LIFE, SLOT_LIFE = tonumber(ARGV[8]), tonumber(ARGV[9])
local SETTLE, KEPT = tonumber(ARGV[10]), tonumber(ARGV[11])
local now = tonumber(ARGV[1])
if not now then
  local time = redis.call('TIME')
  now = time[1] * 1000 + math.floor(time[2] / 1000)
end

local function text(number) return string.format('%.0f', number) end

local function prefixed(prefix)  -- the fields of lending with it, by the rest of their names
  local found, all = {}, redis.call('HGETALL', KEYS[3])
  for i = 1, #all, 2 do
    if string.sub(all[i], 1, 2) == prefix then found[string.sub(all[i], 3)] = all[i + 1] end
  end
  return found
end

local function is_drained(name)  -- whether the ledger holds all that Redis was told by the lane
  local places = redis.call('HMGET', KEYS[1], 'p:' .. name, 'k:' .. name)
  return (places[1] or '0') == (places[2] or '0')
end

-- Somebody has to say again what it holds before anything is lent: 0, or for how long at most. Whoever
-- could not speak, since this server was away meanwhile, gets time to (once); whoever is gone may have
-- used something that the ledger does not have yet.
local function still_settling()
  local bounds = redis.call('HMGET', KEYS[3], 's', 'm', 'e')
  if not bounds[1] then return 0 end
  local most, least = tonumber(bounds[1]), tonumber(bounds[2])
  local waited = prefixed('w:')
  if now < most then
    if next(waited) then return most - now end
    if now < least then return least - now end
  elseif next(waited) and not bounds[3] then
    redis.call('HSET', KEYS[3], 's', text(now + SETTLE), 'e', '1')
    return SETTLE
  end
  for name in pairs(waited) do
    if not is_drained(name) then return SETTLE end
  end
  redis.call('HDEL', KEYS[3], 's', 'm', 'e')
  for name in pairs(waited) do redis.call('HDEL', KEYS[3], 'w:' .. name) end
  return 0
end

-- Redis went back if it has not seen what this lane was told: what was lent meanwhile is forgotten.
local function look_whether_set_back()
  local told = redis.call('HGET', KEYS[1], 'k:' .. lane) or '0'
  local serial = tonumber(redis.call('HGET', KEYS[3], 'n') or '0')
  local seen = tonumber(ARGV[6])
  if serial >= seen and tonumber(told) >= tonumber(ARGV[5]) then return end
  for name, till in pairs(prefixed('h:')) do
    if tonumber(till) > now then redis.call('HSET', KEYS[3], 'w:' .. name, '1') end
  end
  redis.call('HSET', KEYS[3], 'n', text(math.max(serial, seen)), 'w:' .. lane, '1',
    's', text(now + PACKAGE_LIFE), 'm', text(now + SETTLE))
  redis.call('HDEL', KEYS[3], 'e')
end

-- One who is gone keeps what it held until it was noticed, and a while longer: after an outage all
-- are late, and those who are alive come back meanwhile. What it used may still be on its way.
local function others_of(key, is_package)
  local others = {turn = 0, held = 0, count = 0, soonest = 0}
  local all = redis.call('HGETALL', key)
  for i = 1, #all, 2 do
    local name = all[i]
    local asked, held, till, noticed = string.match(all[i + 1], '^(%d+) (%d+) (%d+) (%d+)$')
    asked, held, till, noticed = tonumber(asked), tonumber(held), tonumber(till), tonumber(noticed)
    if name == '!' then
      others.mark = all[i + 1]
    elseif not asked then
      redis.call('HDEL', key, name)  -- not ours
    elseif name == lane then
      others.turn = asked
    elseif now < till then
      others.held, others.count = others.held + held, others.count + (held > 0 and 1 or 0)
    else
      local is_over = noticed > 0 and now >= noticed + SETTLE and not (is_package and not is_drained(name))
      if held == 0 or is_over then
        redis.call('HDEL', key, name)
      else
        if noticed == 0 then
          noticed = now
          redis.call('HSET', key, name, table.concat({text(asked), text(held), text(till), text(now)}, ' '))
        end
        local wait = math.max(noticed + SETTLE - now, 1)
        if others.soonest == 0 or wait < others.soonest then others.soonest = wait end
        others.held, others.count = others.held + held, others.count + 1
      end
    end
  end
  return others
end

-- Near the end everybody gets a share of what is left, so that it does not lie idle with one of them.
local function share(free, want, least, count)
  local granted = math.min(want, math.max(math.floor(free / (count + 1)), least))
  return granted <= free and granted or 0
end

local function is_wanted(key, others, refused)
  local name, till = string.match(others.mark or '', '^(.*) (%d+)$')
  if refused and others.count > 0 then
    redis.call('HSET', key, '!', lane .. ' ' .. text(now + SETTLE))
  elseif name == lane then
    redis.call('HDEL', key, '!')
  end
  return (name and name ~= lane and tonumber(till) > now) and 1 or 0
end

-- `left` of it in all, nil if nobody knows. `state` other than 'ok': nothing is lent, but what is held
-- is written down.
local function lease(key, terms)
  local others = others_of(key, terms.is_package)
  if turn <= others.turn then return {'late', 0, 0, 0, 0, 0} end
  local free = (terms.left or 0) - others.held - terms.held
  local granted = 0
  if terms.state == 'ok' and terms.want > 0 then
    granted = share(free, terms.want, terms.least, others.count)
  end
  local refused = terms.state == 'ok' and terms.want > 0 and granted == 0
  local wanted = is_wanted(key, others, refused)
  local held = terms.held + granted
  redis.call('HSET', key, lane, table.concat({text(turn), text(held), text(now + terms.life), '0'}, ' '))
  redis.call('PEXPIRE', key, held + others.held > 0 and KEPT or terms.life)
  if terms.is_package and held > 0 then redis.call('HSET', KEYS[3], 'h:' .. lane, text(now + terms.life)) end
  local retry = terms.retry or (refused and others.soonest or 0)
  return {terms.state, granted, free - granted, wanted, retry, terms.lasts or terms.life}
end

-- What an account's packages still hold, and for how long none of them expires.
local function balance_of(account)
  local raw = redis.call('HGET', KEYS[2], 'b:' .. account)
  if not raw then return nil end
  local left, lasts = 0, PACKAGE_LIFE
  for _, part in ipairs(cjson.decode(raw)[3]) do  -- {package, quota, left, expires}
    local expires = part[4]
    if part[3] > 0 and (expires == 0 or expires > now) then
      left = math.min(left + part[3], MOST)
      if expires ~= 0 then lasts = math.min(lasts, expires - now) end
    end
  end
  return left, lasts
end

local in_force, settles, looked = false, 0, false

local function look_once()
  if looked then return end
  looked, in_force = true, epoch ~= '' and redis.call('HGET', KEYS[1], 'epoch') == epoch
  if not in_force then return end
  look_whether_set_back()
  if whole then redis.call('HDEL', KEYS[3], 'w:' .. lane) end
  settles = still_settling()
end

local function package(key, at)
  look_once()
  if not in_force then return {'epoch', 0, 0, 0, 0, 0} end
  local left, lasts = balance_of(ARGV[at + 4])
  local state, retry = 'ok', nil
  if settles > 0 then
    state, retry = 'settling', settles
  elseif not left then
    state = 'unknown'
  end
  return lease(key, {is_package = true, state = state, retry = retry, life = PACKAGE_LIFE, lasts = lasts,
    left = left, held = tonumber(ARGV[at + 1]), want = tonumber(ARGV[at + 2]), least = tonumber(ARGV[at + 3])})
end

local function slots(key, at)
  return lease(key, {state = 'ok', life = SLOT_LIFE, left = tonumber(ARGV[at + 3]), least = 1,
    held = tonumber(ARGV[at + 1]), want = tonumber(ARGV[at + 2])})
end

-- GCRA. The key holds the theoretical arrival time: when all that was granted is earned.
-- In units times ms, so that no fraction is ever rounded.
local function rate(key, at)
  local units, period, burst = tonumber(ARGV[at + 1]), tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3])
  local owed, want = tonumber(ARGV[at + 4]), tonumber(ARGV[at + 5])
  local debt, since = string.match(redis.call('GET', key) or '', '^(%d+) (%d+)$')
  debt, since = tonumber(debt or 0), tonumber(since or now)
  debt = math.max(debt - math.max(now - since, 0) * units, 0)
  debt = math.max(debt + owed * period, 0)
  local free = math.floor((burst * period - debt) / period)
  local granted = math.max(math.min(want, free), 0)
  debt = debt + granted * period
  local retry = 0
  if granted == 0 and want > 0 then retry = math.ceil((debt + period - burst * period) / units) end
  if debt == 0 then
    redis.call('DEL', key)
  else
    redis.call('SET', key, text(debt) .. ' ' .. text(now), 'PX', text(math.ceil(debt / units) + 1))
  end
  return {'ok', granted, free - granted, 0, retry, 0}
end

local answers = {}
local kinds = {p = package, s = slots, r = rate}
for i = 4, #KEYS do
  local at = 12 + (i - 4) * 6
  answers[i - 2] = kinds[ARGV[at]](KEYS[i], at)
end
if whole then look_once() end
local serial = in_force and redis.call('HINCRBY', KEYS[3], 'n', 1) or 0
if serial % 256 == 255 then
  for name, till in pairs(prefixed('h:')) do
    if tonumber(till) <= now then redis.call('HDEL', KEYS[3], 'h:' .. name) end
  end
end
answers[1] = serial
return answers
