-- pace: adds how long a worker's batches took, by the class of their size; of each class the newer ones count for more.
-- KEYS: paces.  ARGV: batches of a class that are remembered, microseconds that the worker was busy, then size class,
-- batches, transactions and microseconds by turns.
-- The rare classes keep what they know: at night, when batches are small, it is still known how fast a busy worker is.
local key, kept = KEYS[1], tonumber(ARGV[1])
redis.call('HINCRBY', key, 'busy', ARGV[2])
for i = 3, #ARGV, 4 do
  local old = redis.call('HGET', key, ARGV[i]) or '0 0 0'
  local batches, transactions, busy = string.match(old, '^(%d+) (%d+) (%d+)$')
  batches = (batches or 0) + ARGV[i + 1]
  transactions, busy = (transactions or 0) + ARGV[i + 2], (busy or 0) + ARGV[i + 3]
  local part = math.min(1, kept / batches)
  redis.call('HSET', key, ARGV[i], string.format('%.0f %.0f %.0f', batches * part, transactions * part, busy * part))
end
return 1
