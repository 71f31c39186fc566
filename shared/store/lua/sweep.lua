-- sweep: renews a worker's lease and, for one worker at a time, gives back the claims of workers whose lease is over.
-- KEYS: workers, waiting, suspects, undecided, losses, sweeper, whether a worker was lost of late.
-- ARGV: claimed key prefix, worker, its lease in ms, how long its turn to sweep lasts in ms, for how long a loss
-- is of late in s.
-- Answers the number of waiting transactions (0 where it is another's turn), then each lost worker and its number of
-- claims.
-- Where no worker has swept for two turns, Redis or the way to it was away, or its clock was set: then the others get half
-- a lease more to renew theirs.
local workers, waiting, suspects = KEYS[1], KEYS[2], KEYS[3]
local undecided, losses, sweeper, lost = KEYS[4], KEYS[5], KEYS[6], KEYS[7]
local prefix, worker, lease, turn = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- a script that has written is not refused for lack of memory: a full Redis must be able to drain
redis.call('ZREM', workers, worker)
redis.call('ZADD', workers, now + lease, worker)
local last = redis.call('GET', sweeper)
local since = math.huge
if last then
  local whose, at = string.match(last, '^(.*) (%d+)$')
  since = now - (tonumber(at) or 0)
  if whose ~= worker and since >= 0 and since < turn then return { 0 } end
end
redis.call('SET', sweeper, worker .. ' ' .. string.format('%.0f', now), 'EX', 86400)
if last and (since < 0 or since > 2 * turn) then
  local overdue = redis.call('ZRANGEBYSCORE', workers, '-inf', now)
  for _, name in ipairs(redis.call('ZRANGEBYSCORE', workers, '(' .. now + 2 * lease, '+inf')) do
    overdue[#overdue + 1] = name
  end
  for _, name in ipairs(overdue) do redis.call('ZADD', workers, now + lease / 2, name) end
end
local gone = {}
for _, name in ipairs(redis.call('ZRANGEBYSCORE', workers, '-inf', now)) do
  redis.call('ZREM', workers, name)
  local ids = redis.pcall('LRANGE', prefix .. name, 0, -1)
  -- what is no list is not ours
  if ids.err then ids = {} end
  redis.call('DEL', prefix .. name)
  local open = #ids > 0 and redis.call('ZMSCORE', undecided, unpack(ids)) or {}
  local held = 0
  for i = #ids, 1, -1 do
    if open[i] then
      -- one that two workers were lost with is likely what ended them: the others shall not wait for it
      redis.call(bump(losses, ids[i], 1) > 1 and 'RPUSH' or 'LPUSH', suspects, ids[i])
      held = held + 1
    end
  end
  if held > 0 then redis.call('SET', lost, name, 'EX', ARGV[5]) end
  gone[#gone + 1] = name
  gone[#gone + 1] = held
end
return { redis.call('LLEN', waiting) + redis.call('LLEN', suspects), unpack(gone) }
