-- claim: takes waiting transactions for one worker and renews its lease.
-- KEYS: waiting, the worker's own list, workers, suspects, losses.
-- ARGV: record key prefix, worker, how many, lease in ms, how many bytes of records are enough.
-- Answers id and record by turns (an empty record: it is gone), what the worker already held first. A suspect, which
-- a worker was lost with, comes alone, and behind it how many were lost with it: it may be what ended them. While others
-- wait, suspects come in every other second only: a dozen that end their workers must not keep all others waiting.
local waiting, claimed, workers, suspects, losses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local prefix, worker = ARGV[1], ARGV[2]
local count, lease, enough = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- a script that has written is not refused for want of memory: a full Redis must be able to drain
redis.call('ZREM', workers, worker)
redis.call('ZADD', workers, now + lease, worker)
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
if #held == 0 and (time[1] % 2 == 0 or redis.call('LLEN', waiting) == 0) then
  held = redis.call('LPOP', suspects, 1) or {}
  if #held > 0 then redis.call('RPUSH', claimed, held[1]) end
end
if #held > 0 then take(held) end
if #held == 1 then
  local lost = redis.call('HGET', losses, held[1])
  if lost then
    answer[3] = lost
    return answer
  end
end
-- a few at a time, so that large records end it before there are too many of them
while bytes < enough and #answer / 2 < count do
  local more = redis.call('LPOP', waiting, math.min(64, count - #answer / 2))
  if not more or #more == 0 then break end
  redis.call('RPUSH', claimed, unpack(more))
  take(more)
end
return answer
