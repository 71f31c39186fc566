-- count: reads the totals, and the places of the undecided transactions; at one moment, changing nothing.
-- KEYS: totals, undecided, waiting, suspects, workers, failed, feed, pending callbacks, dead callbacks, receiving hosts,
-- when callbacks were last taken, gates of receiving hosts.
-- ARGV: claimed key prefix, host key prefix, failures in a row that close a host's gate.
-- Answers the totals as name and number by turns, then undecided, waiting, suspects, claimed, failed and kept, ever
-- added to the feed (-1: this Redis does not say), live workers, age of the oldest undecided in ms (-1: there is none),
-- pending and dead callbacks, the time one has been due without any being taken in ms,
-- paused receivers, and callbacks that wait for them.
local totals, undecided, waiting, suspects = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local workers, failed, feed = KEYS[5], KEYS[6], KEYS[7]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local claimed = 0
for _, name in ipairs(redis.call('ZRANGE', workers, 0, -1)) do
  local held = redis.pcall('LLEN', ARGV[1] .. name)
  if type(held) == 'number' then claimed = claimed + held end
end
local added = 0
if redis.call('EXISTS', feed) == 1 then
  added = -1
  local about = redis.call('XINFO', 'STREAM', feed)
  for i = 1, #about, 2 do
    if about[i] == 'entries-added' then added = about[i + 1] end
  end
end
-- a receiver that fails is in the hash for as long as callbacks wait for it, so that this is as long as that list
local paused, held = 0, 0
local gates = redis.pcall('HGETALL', KEYS[12])
for i = 1, gates.err and 0 or #gates, 2 do
  local failures = string.match(gates[i + 1], '^(%d+) ')
  if failures and tonumber(failures) >= tonumber(ARGV[3]) then
    local waiting = redis.pcall('ZCARD', ARGV[2] .. gates[i])
    paused = paused + 1
    held = held + (type(waiting) == 'number' and waiting or 0)
  end
end
local oldest = redis.call('ZRANGE', undecided, 0, 0, 'WITHSCORES')
local due = redis.call('ZRANGE', KEYS[10], 0, 0, 'WITHSCORES')
return {
  redis.call('HGETALL', totals), redis.call('ZCARD', undecided), redis.call('LLEN', waiting),
  redis.call('LLEN', suspects), claimed, redis.call('ZCARD', failed), added,
  redis.call('ZCOUNT', workers, now, '+inf'), oldest[2] and math.max(0, now - oldest[2]) or -1,
  redis.call('ZCARD', KEYS[8]), redis.call('ZCARD', KEYS[9]), 
  due[2] and math.max(0, now - math.max(due[2], tonumber(redis.call('GET', KEYS[11]) or 0) or 0)) or 0,
  paused, held,
}
