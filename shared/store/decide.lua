-- decide: writes what became of claimed transactions; the first outcome of each wins.
-- KEYS: undecided, the worker's own list, feed, failed, losses, totals.
-- ARGV: record key prefix, TTL in s, TTL of what failed in s, feed length, channel, then id, record and decision by
-- turns (an empty record: there is nothing to write; an empty decision: it failed and is not in the feed).
-- Who waits is told the ids that were decided or, where they are few, their records by id.
-- Answers how many were decided by this call.
local undecided, claimed, feed, failed, losses, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, ttl, failed_ttl, length, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
local ids = {}
for i = 6, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
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

-- Whether an outcome is of an earlier try than the one that is to come: a failure before a replay, or that there was
-- nothing to decide when the id was claimed. Then it has a place in line of its own by now.
local function comes_late(id, record)
  local now = content_of(redis.pcall('GET', prefix .. id))
  if record == '' then return now.status == 'queued' end
  return (now.replays or 0) ~= (content_of(record).replays or 0)
end

local open = redis.call('ZMSCORE', undecided, unpack(ids))
local decided, known, told, failures, fed, unreadable = {}, {}, {}, {}, 0, 0
for n, id in ipairs(ids) do
  local record, decision = ARGV[3 * n + 4], ARGV[3 * n + 5]
  if open[n] and not known[id] and not (decision == '' and comes_late(id, record)) then
    known[id] = true
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
if fed > 0 then
  redis.call('XTRIM', feed, 'MAXLEN', '~', length)
  redis.call('HINCRBY', totals, 'decided', fed)
end
if #failures > 0 then
  local now = tonumber(redis.call('TIME')[1])
  for _, id in ipairs(failures) do redis.call('ZADD', failed, now, id) end
  redis.call('ZREMRANGEBYSCORE', failed, '-inf', now - failed_ttl)
  redis.call('EXPIRE', failed, failed_ttl)
  redis.call('HINCRBY', totals, 'failed', #failures)
end
if unreadable > 0 then redis.call('HINCRBY', totals, 'unreadable', unreadable) end
if #decided > 0 then
  redis.call('ZREM', undecided, unpack(decided))
  if redis.call('EXISTS', losses) == 1 then redis.call('HDEL', losses, unpack(decided)) end
  local all_told = #told == #decided
  redis.call('PUBLISH', channel, all_told and '{' .. table.concat(told, ',') .. '}' or cjson.encode(decided))
end
return #decided
