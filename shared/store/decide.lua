-- decide: writes what became of claimed transactions; the first outcome of each wins.
-- KEYS: undecided, the claimer's own list, feed.
-- ARGV: record key prefix, TTL in s, feed length, channel, then id, record and decision by turns
-- (an empty record: there is nothing to write; an empty decision: it failed and is not in the feed).
-- Who waits is told the ids that were decided or, where they are few, their records by id.
-- Answers how many were decided by this call.
local undecided, claimed, feed = KEYS[1], KEYS[2], KEYS[3]
local prefix, ttl, length, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local ids = {}
for i = 5, #ARGV, 3 do ids[#ids + 1] = ARGV[i] end
if #ids == 0 then return 0 end

local held = redis.call('LRANGE', claimed, 0, -1)
local all_that_is_held = #held == #ids
for i = 1, #ids do all_that_is_held = all_that_is_held and held[i] == ids[i] end
if all_that_is_held then
  redis.call('DEL', claimed)
else
  for _, id in ipairs(ids) do redis.call('LREM', claimed, 1, id) end
end

local open = redis.call('ZMSCORE', undecided, unpack(ids))
local decided, known, told, fed = {}, {}, {}, false
for n, id in ipairs(ids) do
  if open[n] and not known[id] then
    known[id] = true
    decided[#decided + 1] = id
    local record, decision = ARGV[3 * n + 3], ARGV[3 * n + 4]
    if record ~= '' then
      redis.call('SET', prefix .. id, record, 'EX', ttl)
      if #ids <= 8 then told[#told + 1] = cjson.encode(id) .. ':' .. record end
    end
    if decision ~= '' then
      redis.call('XADD', feed, '*', 'd', decision)
      fed = true
    end
  end
end
if fed then redis.call('XTRIM', feed, 'MAXLEN', '~', length) end
if #decided > 0 then
  redis.call('ZREM', undecided, unpack(decided))
  local all_told = #told == #decided
  redis.call('PUBLISH', channel, all_told and '{' .. table.concat(told, ',') .. '}' or cjson.encode(decided))
end
return #decided
