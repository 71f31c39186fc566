-- claim: takes waiting transactions for one worker and renews its lease.
-- KEYS: waiting, the claimer's own list, claimers.
-- ARGV: record key prefix, claimer, how many, lease in ms, how many bytes of records are enough.
-- Answers id and record by turns (an empty record: it is gone), what the claimer already held first.
local waiting, claimed, claimers = KEYS[1], KEYS[2], KEYS[3]
local prefix, claimer = ARGV[1], ARGV[2]
local count, lease, enough = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- a script that has written is not refused for want of memory: a full Redis must be able to drain
redis.call('ZREM', claimers, claimer)
redis.call('ZADD', claimers, now + lease, claimer)
local answer, bytes = {}, 0
local function take(ids)
  local keys = {}
  for i, id in ipairs(ids) do keys[i] = prefix .. id end
  local records = redis.call('MGET', unpack(keys))
  for i, id in ipairs(ids) do
    local record = records[i] or ''
    answer[#answer + 1] = id
    answer[#answer + 1] = record
    bytes = bytes + #record
  end
end
local held = redis.call('LRANGE', claimed, 0, -1)
if #held > 0 then take(held) end
-- a few at a time, so that large records end it before there are too many of them
while bytes < enough and #answer / 2 < count do
  local more = redis.call('LPOP', waiting, math.min(64, count - #answer / 2))
  if not more or #more == 0 then break end
  redis.call('RPUSH', claimed, unpack(more))
  take(more)
end
return answer
