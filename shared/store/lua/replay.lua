-- replay: queues failed transactions again.
-- KEYS: undecided, waiting, failed, totals.  ARGV: record key prefix, then id, its record as it was read, and the new one.
-- Answers for each 1, or 0 where its record is no longer what was read.
local undecided, waiting, failed, totals = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers, replayed = {}, 0
for i = 2, #ARGV, 3 do
  local id = ARGV[i]
  if redis.pcall('GET', prefix .. id) == ARGV[i + 1] then
    redis.call('SET', prefix .. id, ARGV[i + 2])
    redis.call('ZADD', undecided, now, id)
    redis.call('RPUSH', waiting, id)
    redis.call('ZREM', failed, id)
    replayed = replayed + 1
    answers[#answers + 1] = 1
  else
    answers[#answers + 1] = 0
  end
end
if replayed > 0 then bump(totals, 'replayed', replayed) end
return answers
