-- sweep: gives back what claimers hold whose lease is over, or what one that is leaving holds, oldest first in line.
-- KEYS: claimers, waiting.  ARGV: claimed key prefix, and optionally the claimer that is leaving.
-- Answers how many transactions were given back, and how many wait now.
local claimers, waiting = KEYS[1], KEYS[2]
local prefix, leaving = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = leaving and { leaving } or redis.call('ZRANGEBYSCORE', claimers, '-inf', now)
local given_back = 0
for _, claimer in ipairs(gone) do
  -- a script that has written is not refused for want of memory: a full Redis must be able to drain
  redis.call('ZREM', claimers, claimer)
  local ids = redis.call('LRANGE', prefix .. claimer, 0, -1)
  for i = #ids, 1, -1 do redis.call('LPUSH', waiting, ids[i]) end
  redis.call('DEL', prefix .. claimer)
  given_back = given_back + #ids
end
return { given_back, redis.call('LLEN', waiting) }
