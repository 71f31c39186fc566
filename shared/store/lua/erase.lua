-- erase: removes a decided or failed transaction's data, and leaves a record that says "erased".
-- KEYS: feed, feed gaps, failed, pending callbacks, dead callbacks.
-- ARGV: record key prefix, callback key prefix, host key prefix, id, the new record, its TTL in s, then the ids of the
-- feed's entries that have its values.
-- Answers 'done', 'queued' (nothing was erased), or 'unknown'.
local feed, gaps, failed, pending, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local id, tombstone, ttl = ARGV[4], ARGV[5], ARGV[6]
local key, callback = ARGV[1] .. id, ARGV[2] .. id
local record = redis.pcall('GET', key)
if type(record) ~= 'string' then return 'unknown' end
local read, content = pcall(cjson.decode, record)
if read and type(content) == 'table' and content.status == 'queued' then return 'queued' end
for i = 7, #ARGV do
  if redis.call('XDEL', feed, ARGV[i]) == 1 then
    -- so that who has read up to it can go on from there
    redis.call('ZADD', gaps, string.match(ARGV[i], '^%d+'), ARGV[i])
  end
end
local oldest = redis.call('XRANGE', feed, '-', '+', 'COUNT', 1)
if #oldest > 0 then redis.call('ZREMRANGEBYSCORE', gaps, '-inf', '(' .. string.match(oldest[1][1], '^%d+')) end
local host = redis.pcall('HGET', callback, 'host')
if type(host) == 'string' then redis.pcall('ZREM', ARGV[3] .. host, id) end
redis.call('DEL', callback)
redis.call('ZREM', pending, id)
redis.call('ZREM', dead, id)
redis.call('ZREM', failed, id)
redis.call('SET', key, tombstone, 'EX', ttl)
return 'done'
