-- leave: gives back a live worker's claims, to the front or the end of the queue, and unregisters it where it ends.
-- KEYS: workers, the worker's own list, waiting, suspects, losses.  ARGV: worker, 1 where it ends, else 0,
-- 1 where they go to the end of the queue, else 0: also those with losses, as suspects come before all others, and what
-- this worker cannot decide would keep the others waiting for ever.
-- Answers the number of transactions given back.
local workers, claimed, waiting, suspects, losses = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local ids = redis.call('LRANGE', claimed, 0, -1)
-- a script that has written is not refused for lack of memory: a full Redis must be able to drain
redis.call('DEL', claimed)
local last = ARGV[3] == '1'
for i = 1, #ids do
  local id = ids[last and i or #ids + 1 - i]
  local line = not last and redis.call('HEXISTS', losses, id) == 1 and suspects or waiting
  redis.call(last and 'RPUSH' or 'LPUSH', line, id)
end
if ARGV[2] == '1' then redis.call('ZREM', workers, ARGV[1]) end
return #ids
