-- compact: puts a packed state in the place of an entity's first bytes, where these are still the same.
-- KEYS: the entities.
-- ARGV: for each the number of bytes to replace, their SHA-1, the packed state, and how long the entity is kept, in ms.
-- Answers the number of entities that were changed. Events that came meanwhile stay behind the state, and so does the
-- time at which the entity expires.
-- With no bytes to replace the state goes in front of events that have none before them; an entity of which nothing was
-- kept is kept from now on.
local changed = 0
for i, key in ipairs(KEYS) do
  local length, digest, state, keep = tonumber(ARGV[4 * i - 3]), ARGV[4 * i - 2], ARGV[4 * i - 1], ARGV[4 * i]
  local kept = redis.pcall('GET', key)
  if not kept then
    kept = ''
  elseif type(kept) == 'table' then
    -- what is no string is not ours
    kept, length = '', math.huge
  end
  local is_same = redis.sha1hex(string.sub(kept, 1, length)) == digest
  if #kept >= length and is_same and (length > 0 or string.sub(kept, 1, 1) ~= 'S') then
    if kept == '' then
      redis.call('SET', key, state, 'PX', keep)
    else
      redis.call('SET', key, state .. string.sub(kept, length + 1), 'KEEPTTL')
    end
    changed = changed + 1
  end
end
return changed
