-- tally: adds a worker's decisions, by model version and action; the counts of the oldest versions move to one that is
-- called `older`, so that no sum ever falls; not those of the worker's own versions: an old one may serve again.
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
  if version and version ~= 'older' and not seen[version] then
    seen[version] = true
    versions[#versions + 1] = version
  end
end
-- a version's name begins with its time of creation
table.sort(versions)
local over = #versions - kept
for _, version in ipairs(versions) do
  if over > 0 and not serving[version] then
    over = over - 1
    for _, field in ipairs(fields) do
      local its, what = string.match(field, '^(%S+) (.*)$')
      if its == version then
        redis.call('HINCRBY', key, 'older ' .. what, redis.call('HGET', key, field))
        redis.call('HDEL', key, field)
      end
    end
  end
end
return #versions
