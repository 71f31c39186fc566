-- pace: adds the durations of a worker's batches, by size class; newer batches count for more.
-- KEYS: paces.  ARGV: batches of a class that are remembered, microseconds that the worker was busy, then size class,
-- batches, transactions and microseconds by turns.
-- Rare classes keep their values: at night, when batches are small, the pace of a busy worker stays known.
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
