-- decide: writes the outcomes of claimed transactions; the first outcome of each wins.
-- KEYS: undecided, the worker's own list, feed, failed, losses, totals, pending callbacks, dead callbacks, receiving
-- hosts, wake.
-- ARGV: record key prefix, callback key prefix, host key prefix, TTL in s, TTL of failed ones in s, feed length, channel,
-- wait before the first attempt of a callback in ms, how many outcomes, then id, record and decision of each by turns (an
-- empty record: there is nothing to write; an empty decision: it failed and is not in the feed), then of those with a
-- callback their number from 1, receiving host, message id and event by turns.
-- Publishes to waiting requests the decided ids or, where they are few, their records by id.
-- Answers the number of transactions decided by this call.
local undecided, claimed, feed, failed, losses, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local pending, dead, hosts, wake = KEYS[7], KEYS[8], KEYS[9], KEYS[10]
local prefix, callback_prefix, host_prefix = ARGV[1], ARGV[2], ARGV[3]
local ttl, failed_ttl, length, channel = ARGV[4], ARGV[5], ARGV[6], ARGV[7]
local wait, count = tonumber(ARGV[8]), tonumber(ARGV[9])
local ids = {}
for i = 1, count do ids[i] = ARGV[7 + 3 * i] end
if #ids == 0 then return 0 end

local held = redis.call('LRANGE', claimed, 0, -1)
local all_that_is_held = #held == #ids
for i = 1, #ids do all_that_is_held = all_that_is_held and held[i] == ids[i] end
if all_that_is_held then
  redis.call('DEL', claimed)
else
  for _, id in ipairs(ids) do redis.call('LREM', claimed, 1, id) end
end


local function content_of(record)
  local read, content = pcall(cjson.decode, record or '')
  return read and type(content) == 'table' and content or {}
end

-- True for an outcome of an earlier try than the pending one: a failure before a replay, or that there was
-- nothing to decide when the id was claimed. The pending try has its own place in the queue.
local function comes_late(id, record)
  local now = content_of(redis.pcall('GET', prefix .. id))
  if record == '' then return now.status == 'queued' end
  -- one that is no number was never replayed; where nothing can be read, there is no other try either
  return next(now) ~= nil and (tonumber(now.replays) or 0) ~= (tonumber(content_of(record).replays) or 0)
end

local open = redis.call('ZMSCORE', undecided, unpack(ids))
local decided, known, told, failures, fed, unreadable = {}, {}, {}, {}, 0, 0
local settled = {}
for n, id in ipairs(ids) do
  local record, decision = ARGV[8 + 3 * n], ARGV[9 + 3 * n]
  if open[n] and not known[id] and not (decision == '' and comes_late(id, record)) then
    known[id], settled[n] = true, true
    decided[#decided + 1] = id
    if decision ~= '' then
      redis.call('SET', prefix .. id, record, 'EX', ttl)
      redis.call('XADD', feed, '*', 'd', decision)
      fed = fed + 1
    elseif record ~= '' then
      redis.call('SET', prefix .. id, record, 'EX', failed_ttl)
      failures[#failures + 1] = id
    else
      unreadable = unreadable + 1
    end
    if record ~= '' and #ids <= 8 then told[#told + 1] = cjson.encode(id) .. ':' .. record end
  end
end

-- in the same step, so that neither a decision nor its callback exists without the other
local announced, due_at, to_host, superseded = 0, {}, {}, 0
if #ARGV > 9 + 3 * count then
  local time = redis.call('TIME')
  local due = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + wait)
  for i = 10 + 3 * count, #ARGV, 4 do
    local n, host = tonumber(ARGV[i]), ARGV[i + 1]
    if settled[n] then
      local id = ids[n]
      local key = callback_prefix .. id
      local before = redis.pcall('HMGET', key, 'status', 'host')
      -- what is no hash is not ours: no reason to leave the others half decided
      if before.err then redis.call('DEL', key) end
      if before[1] then
        if before[1] == 'pending' then superseded = superseded + 1 end
        redis.pcall('ZREM', host_prefix .. before[2], id)
        redis.call('ZREM', dead, id)
        redis.call('DEL', key)
      end
      redis.call('HSET', key, 'id', ARGV[i + 2], 'host', host, 'event', ARGV[i + 3], 'status', 'pending', 'due', due)
      local line = to_host[host] or {}
      to_host[host] = line
      line[#line + 1], line[#line + 2] = due, id
      due_at[#due_at + 1], due_at[#due_at + 2] = due, id
      announced = announced + 1
    end
  end
  for host, line in pairs(to_host) do
    if type(redis.pcall('ZADD', host_prefix .. host, unpack(line))) == 'table' then
      redis.call('DEL', host_prefix .. host)
      redis.call('ZADD', host_prefix .. host, unpack(line))
    end
    redis.call('ZADD', hosts, 'LT', due, host)
  end
end
if announced > 0 then
  redis.call('ZADD', pending, unpack(due_at))
  bump(totals, 'callbacks_announced', announced)
  if superseded > 0 then bump(totals, 'callbacks_superseded', superseded) end
  if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, '1') end
end

if fed > 0 then
  redis.call('XTRIM', feed, 'MAXLEN', '~', length)
  bump(totals, 'decided', fed)
end
if #failures > 0 then
  local now = tonumber(redis.call('TIME')[1])
  for _, id in ipairs(failures) do redis.call('ZADD', failed, now, id) end
  redis.call('ZREMRANGEBYSCORE', failed, '-inf', now - failed_ttl)
  redis.call('EXPIRE', failed, failed_ttl)
  bump(totals, 'failed', #failures)
end
if unreadable > 0 then bump(totals, 'unreadable', unreadable) end
if #decided > 0 then
  redis.call('ZREM', undecided, unpack(decided))
  if redis.call('EXISTS', losses) == 1 then redis.call('HDEL', losses, unpack(decided)) end
  local all_told = #told == #decided
  redis.call('PUBLISH', channel, all_told and '{' .. table.concat(told, ',') .. '}' or cjson.encode(decided))
end
return #decided
