-- What keys have spent of their rates, told by one API process; what all of them have, as it is now.
-- KEYS: a key's account each (and one that is never there). ARGV, for each: what was spent since it was told last, and what is forgiven in a second.
-- An account is a leaky bucket: "level ms", the level as it was at that time of Redis's clock.

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
