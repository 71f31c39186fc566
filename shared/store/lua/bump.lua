-- bump: counts up a field. It stands before each script that calls it.
-- A field that another program overwrote counts anew from here: the rest of the script must still run.
local function bump(key, field, by)
  local now = redis.pcall('HINCRBY', key, field, by)
  if type(now) == 'number' then return now end
  redis.pcall('HSET', key, field, by)
  return tonumber(by)
end
