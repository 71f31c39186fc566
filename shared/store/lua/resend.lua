-- resend: makes callbacks due now, also delivered and dead ones.
-- KEYS: receiving hosts, pending callbacks, dead callbacks, totals, wake.
-- ARGV: callback key prefix, host key prefix, then ids.
-- Answers for each 1, or 0 where there is no callback.
local hosts, pending, dead, totals, wake = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local callback_prefix, host_prefix = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers, resent = {}, 0
for i = 3, #ARGV do
  local id = ARGV[i]
  local key = callback_prefix .. id
  local about = redis.pcall('HMGET', key, 'status', 'host')
  local status, host = about[1], about[2]
  answers[#answers + 1] = status and 1 or 0
  if status then
    redis.call('HSET', key, 'status', 'pending', 'due', string.format('%.0f', now), 'step', 0, 'claimed', '0', 'lost', 0)
    -- what is under way may deliver it, but not give it up any more
    bump(key, 'claims', 1)
    redis.call('HDEL', key, 'reason')
    redis.call('PERSIST', key)
    redis.call('ZADD', host_prefix .. host, now, id)
    redis.call('ZADD', hosts, 'LT', now, host)
    redis.call('ZADD', pending, now, id)
    redis.call('ZREM', dead, id)
    if status ~= 'pending' then resent = resent + 1 end
  end
end
if resent > 0 then bump(totals, 'callbacks_resent', resent) end
if redis.call('LLEN', wake) == 0 then redis.call('RPUSH', wake, '1') end
return answers
