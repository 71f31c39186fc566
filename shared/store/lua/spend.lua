-- spend: adds what one API process's keys have spent of their rates; answers the present level of each account.
-- KEYS: a key's account each (and one that is never there).
-- ARGV, for each: the units spent since the last call, and the units that become free in a second.
-- An account is a leaky bucket: "level ms", its level at that time of Redis's clock.

local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local levels = {}
for i = 1, #ARGV / 2 do
  local key = KEYS[i]
  local spent = tonumber(ARGV[2 * i - 1])
  local per_ms = tonumber(ARGV[2 * i]) / 1000
  local level, is_ahead = 0, false
  local before, at = string.match(redis.call('GET', key) or '', '^(%S+) (%d+)$')
  if before then
    -- a clock that was set back forgives nothing, and goes on from here
    level = math.max(0, tonumber(before) - math.max(0, now - tonumber(at)) * per_ms)
    is_ahead = tonumber(at) > now
  end
  -- below 0: a request that was counted too early
  if spent ~= 0 or is_ahead then
    level = math.max(0, level + spent)
    redis.call('SET', key, string.format('%.6f %d', level, now), 'PX', math.ceil(level / per_ms) + 1000)
  end
  levels[i] = string.format('%.6f', level)
end
return levels
