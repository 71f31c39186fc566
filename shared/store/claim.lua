-- claim: takes waiting transactions for one worker and renews its lease.
-- KEYS: waiting, the claimer's own list, claimers.  ARGV: record key prefix, claimer, how many, lease in ms.
-- Answers id and record by turns (an empty record: it is gone), what the claimer already held first.
local waiting, claimed, claimers = KEYS[1], KEYS[2], KEYS[3]
local prefix, claimer, count, lease = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- a script that has written is not refused for want of memory: a full Redis must be able to drain
redis.call('ZREM', claimers, claimer)
redis.call('ZADD', claimers, now + lease, claimer)
local ids = redis.call('LRANGE', claimed, 0, -1)
if #ids < count then
  local more = redis.call('LPOP', waiting, count - #ids)
  if more and #more > 0 then
    redis.call('RPUSH', claimed, unpack(more))
    for _, id in ipairs(more) do ids[#ids + 1] = id end
  end
end
if #ids == 0 then return {} end
local keys = {}
for i, id in ipairs(ids) do keys[i] = prefix .. id end
local records = redis.call('MGET', unpack(keys))
local answer = {}
for i, id in ipairs(ids) do
  answer[#answer + 1] = id
  answer[#answer + 1] = records[i] or ''
end
return answer
