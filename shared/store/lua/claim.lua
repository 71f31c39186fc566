-- claim: claims waiting transactions for one worker and renews its lease.
-- KEYS: waiting, the worker's own list, workers, suspects, losses, whether a worker was lost of late.
-- ARGV: record key prefix, worker, how many, lease in ms, how many bytes of records are enough.
-- Answers id and record by turns (an empty record: it is gone), what the worker already held first. Suspects, which a
-- worker was lost with, come first and without others, and behind them how many were lost: those with one loss together,
-- one with more alone. While others wait, those with more come in every other second only: a dozen that end their
-- workers must not keep all others waiting. Behind any others is a 0 where a worker was lost of late.
local waiting, claimed, workers, suspects, losses, lost = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local prefix, worker = ARGV[1], ARGV[2]
local count, lease, enough = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- a script that has written is not refused for lack of memory: a full Redis must be able to drain
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

-- A value that is no number, which another program wrote, counts as one loss.
local function losses_of(id)
  local number = redis.call('HGET', losses, id)
  return number and math.max(1, math.min(tonumber(number) or 1, 1000))
end

local function next_suspects()
  local ids, number = redis.call('LRANGE', suspects, 0, math.max(0, count - 1)), 0
  if #ids == 0 then return ids end
  local first = losses_of(ids[1])
  if not first then
    -- it was decided meanwhile
    number = 1
  elseif first > 1 then
    number = (time[1] % 2 == 0 or redis.call('LLEN', waiting) == 0) and 1 or 0
  else
    while number < #ids and losses_of(ids[number + 1]) == 1 do number = number + 1 end
  end
  return number > 0 and redis.call('LPOP', suspects, number) or {}
end

local held = redis.call('LRANGE', claimed, 0, -1)
if #held == 0 then
  held = next_suspects()
  if #held > 0 then redis.call('RPUSH', claimed, unpack(held)) end
end
if #held > 0 then
  take(held)
  local number = losses_of(held[1])
  if number then
    answer[#answer + 1] = string.format('%d', number)
    return answer
  end
end
-- a few at a time, so that large records stop the loop early
while bytes < enough and #answer / 2 < count do
  local more = redis.call('LPOP', waiting, math.min(64, count - #answer / 2))
  if not more or #more == 0 then break end
  redis.call('RPUSH', claimed, unpack(more))
  take(more)
end
if redis.call('EXISTS', lost) == 1 then answer[#answer + 1] = '0' end
return answer
