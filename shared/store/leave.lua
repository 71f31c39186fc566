-- leave: gives back what a worker holds that lives, oldest first in line, and forgets the worker where it ends.
-- KEYS: workers, the worker's own list, waiting, suspects, losses.  ARGV: worker, 1 where it ends, else 0.
-- Answers how many transactions were given back.
local workers, claimed, waiting, suspects, losses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ids = redis.call('LRANGE', claimed, 0, -1)
-- a script that has written is not refused for want of memory: a full Redis must be able to drain
redis.call('DEL', claimed)
for i = #ids, 1, -1 do
  local suspect = redis.call('HEXISTS', losses, ids[i]) == 1
  redis.call('LPUSH', suspect and suspects or waiting, ids[i])
end
if ARGV[2] == '1' then redis.call('ZREM', workers, ARGV[1]) end
return #ids
