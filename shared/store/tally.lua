-- tally: adds what a worker has decided, by model version and action; the oldest versions are forgotten, but for those
-- that it decided with: an old one may serve again.
-- KEYS: decided by.  ARGV: versions that are kept, then version, action (or bucket of the probability) and number by
-- turns.
local key, kept, serving = KEYS[1], tonumber(ARGV[1]), {}
for i = 2, #ARGV, 3 do
  serving[ARGV[i]] = true
  redis.call('HINCRBY', key, ARGV[i] .. ' ' .. ARGV[i + 1], ARGV[i + 2])
end
local fields, versions, seen = redis.call('HKEYS', key), {}, {}
for _, field in ipairs(fields) do
  local version = string.match(field, '^(%S+) ')
  if version and not seen[version] then
    seen[version] = true
    versions[#versions + 1] = version
  end
end
-- a version's name begins with the time at which it was made
table.sort(versions)
local over = #versions - kept
for _, version in ipairs(versions) do
  if over > 0 and not serving[version] then
    over = over - 1
    for _, field in ipairs(fields) do
      if string.match(field, '^(%S+) ') == version then redis.call('HDEL', key, field) end
    end
  end
end
return #versions
