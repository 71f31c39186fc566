-- decide: writes what became of claimed transactions; the first outcome of each wins.
-- KEYS: undecided, the claimer's own list, feed.
-- ARGV: record key prefix, TTL in s, feed length, channel, then id, record and decision by turns
-- (an empty record: there is nothing to write; an empty decision: it failed and is not in the feed).
-- Answers how many were decided by this call.
local undecided, claimed, feed = KEYS[1], KEYS[2], KEYS[3]
local prefix, ttl, length, channel = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local decided = {}
for i = 5, #ARGV, 3 do
  local id, record, decision = ARGV[i], ARGV[i + 1], ARGV[i + 2]
  redis.call('LREM', claimed, 1, id)
  if redis.call('ZREM', undecided, id) == 1 then
    decided[#decided + 1] = id
    if record ~= '' then redis.call('SET', prefix .. id, record, 'EX', ttl) end
    if decision ~= '' then redis.call('XADD', feed, 'MAXLEN', '~', length, '*', 'd', decision) end
  end
end
if #decided > 0 then redis.call('PUBLISH', channel, cjson.encode(decided)) end
return #decided
