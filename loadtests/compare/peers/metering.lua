-- Metering in nginx: whose call it is, what its reply says was used, counters, and Redis.

local cjson = require "cjson.safe"
local keys = require "keys"
local counters = ngx.shared.counters

local M = {}
local FLUSH_S = 0.2
local METERS = { ":requests", ":tokens_in", ":tokens_out", ":bytes_out" }
local dirty = {}  -- customers with counts that Redis has not seen
local find, sub, byte = string.find, string.sub, string.byte

function M.admit()
  local given = ngx.var.http_authorization
  local customer = given and keys[sub(given, 8)]
  if not customer then
    return ngx.exit(401)
  end
  ngx.ctx.customer = customer
  ngx.var.customer = customer
end

local function usage_of(text)
  local reply = cjson.decode(text)
  return type(reply) == "table" and type(reply.usage) == "table" and reply.usage or nil
end

-- A stream: only lines that say "usage" are decoded; a line that is cut is kept until its rest comes.
local function read_stream(ctx, chunk)
  local text = ctx.rest and (ctx.rest .. chunk) or chunk
  ctx.rest = nil
  if byte(text, -1) ~= 10 then
    local last = find(text, "\n[^\n]*$") or 0
    ctx.rest = sub(text, last + 1)
    text = sub(text, 1, last)
  end
  if find(text, '"usage"', 1, true) then
    for line in string.gmatch(text, "data: ([^\n]*)\n") do
      if find(line, '"usage"', 1, true) then
        ctx.usage = usage_of(line) or ctx.usage
      end
    end
  end
end

function M.read()
  local chunk, eof, ctx = ngx.arg[1], ngx.arg[2], ngx.ctx
  if ctx.stream == nil then
    ctx.stream = find(ngx.header.content_type or "", "text/event-stream", 1, true) == 1
    ctx.parts = {}
  end
  if ctx.stream then
    if chunk ~= "" then
      read_stream(ctx, chunk)
    end
    return
  end
  local parts = ctx.parts
  parts[#parts + 1] = chunk
  if eof then
    ctx.usage = usage_of(#parts == 1 and chunk or table.concat(parts))
  end
end

function M.count()
  local ctx = ngx.ctx
  local customer = ctx.customer
  if not customer or ngx.status >= 400 then
    return
  end
  local usage = ctx.usage or {}
  counters:incr(customer .. ":requests", 1, 0)
  counters:incr(customer .. ":tokens_in", usage.prompt_tokens or 0, 0)
  counters:incr(customer .. ":tokens_out", usage.completion_tokens or 0, 0)
  counters:incr(customer .. ":bytes_out", tonumber(ngx.var.body_bytes_sent) or 0, 0)
  dirty[customer] = true
end

local function commands(customers)
  local sent, sums = {}, {}
  for customer in pairs(customers) do
    for _, meter in ipairs(METERS) do
      local name = customer .. meter
      local sum = counters:get(name) or 0
      if sum > 0 then
        local value, field, key = tostring(sum), sub(meter, 2), "usage:" .. customer
        sent[#sent + 1] = "*4\r\n$7\r\nHINCRBY\r\n$" .. #key .. "\r\n" .. key .. "\r\n$" .. #field
          .. "\r\n" .. field .. "\r\n$" .. #value .. "\r\n" .. value .. "\r\n"
        sums[#sums + 1] = { name, sum }
      end
    end
  end
  return sent, sums
end

local function flush(premature, host, port)
  if premature or next(dirty) == nil then
    return
  end
  local customers = dirty
  dirty = {}
  local sent, sums = commands(customers)
  local redis = ngx.socket.tcp()
  redis:settimeout(5000)
  if not redis:connect(host, port) or not redis:send(sent) then
    for customer in pairs(customers) do
      dirty[customer] = true
    end
    return
  end
  for n = 1, #sums do
    local reply = redis:receive()
    if reply and byte(reply) == 58 then
      counters:incr(sums[n][1], -sums[n][2])
    end
  end
  redis:setkeepalive()
end

function M.start(host, port)
  ngx.timer.every(FLUSH_S, flush, host, port)
end

return M
