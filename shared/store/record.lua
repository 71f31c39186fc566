-- record: keeps decisions that the synchronous door has already given; an id that is known stays as it is.
-- KEYS: feed.  ARGV: record key prefix, TTL in s, feed length, then id, record and decision by turns.
-- Answers how many were new.
local feed = KEYS[1]
local prefix, ttl, length = ARGV[1], ARGV[2], ARGV[3]
local recorded = 0
for i = 4, #ARGV, 3 do
  if redis.call('SET', prefix .. ARGV[i], ARGV[i + 1], 'NX', 'EX', ttl) then
    redis.call('XADD', feed, '*', 'd', ARGV[i + 2])
    recorded = recorded + 1
  end
end
if recorded > 0 then redis.call('XTRIM', feed, 'MAXLEN', '~', length) end
return recorded
