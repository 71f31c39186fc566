-- take: gives a delivery worker callbacks that are due.
-- KEYS: receiving hosts, gates, time of the last take, waiting transactions.
-- ARGV: callback key prefix, host key prefix, lease in ms, how many, how many to one host, how many of them a host may
-- have in any case, how many are kept for that, failures in a row that close a host's gate, how long it stays closed in
-- ms, for how long a callback is kept behind it in ms, how many transactions may wait before decisions come first, how
-- many the worker may be busy with then, then of each host that it is busy with its name and with how many by turns.
-- A callback that was taken is due again when its lease is over: then its worker is lost. Where so many attempts in a row
-- have failed that the host's gate is closed, one callback comes through when it opens; the others stay behind it, but
-- not for ever: those are given out as held.
-- Answers when the next one is due in ms from now (-1: none is), then of each callback its id, host, message id, event,
-- step of the schedule, claim, workers lost with it, and 1 if it was held.
local hosts, gates, taken_at = KEYS[1], KEYS[2], KEYS[3]
local callback_prefix, host_prefix = ARGV[1], ARGV[2]
local lease, room, each = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local small, reserve = tonumber(ARGV[6]), tonumber(ARGV[7])
local most_failures, closed_for, hold = tonumber(ARGV[8]), tonumber(ARGV[9]), tonumber(ARGV[10])
-- a script that has written is not refused for lack of memory: a full Redis must be able to drain
redis.call('HDEL', gates, '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- once a second: each write costs Redis one to disk, for which scoring workers wait, too
if now - (tonumber(redis.call('GET', taken_at) or 0) or 0) > 1000 then
  redis.call('SET', taken_at, string.format('%.0f', now), 'EX', 86400)
end
local busy, hosts_busy, under_way = {}, 0, 0
for i = 13, #ARGV, 2 do
  busy[ARGV[i]] = tonumber(ARGV[i + 1])
  hosts_busy = hosts_busy + 1
  under_way = under_way + busy[ARGV[i]]
end
local most = tonumber(ARGV[12])
if redis.call('LLEN', KEYS[4]) > tonumber(ARGV[11]) then
  room = math.min(room, most - under_way)
  reserve = math.min(reserve, math.floor(most / 5))
end
local answer = { -1 }

local function gate_of(host)
  local failures, opens = string.match(redis.call('HGET', gates, host) or '', '^(%d+) (%d+)$')
  failures, opens = tonumber(failures) or 0, tonumber(opens) or 0
  -- one that is closed for longer than ever was closed by a clock that has been set back
  if opens > now + closed_for then opens = now end
  return failures, opens
end

local function settle(host)
  local first = redis.pcall('ZRANGE', host_prefix .. host, 0, 0, 'WITHSCORES')
  if first.err or #first == 0 then
    redis.call('ZREM', hosts, host)
    redis.call('HDEL', gates, host)
    return
  end
  local due = tonumber(first[2])
  local failures, opens = gate_of(host)
  if failures >= most_failures and opens > now then due = math.max(due, math.min(opens, due + hold)) end
  redis.call('ZADD', hosts, due, host)
end

local function give(host, id, held)
  local key = callback_prefix .. id
  local about = redis.pcall('HMGET', key, 'id', 'event', 'step', 'status', 'claimed', 'host')
  if about.err or about[4] ~= 'pending' or about[6] ~= host then
    redis.call('ZREM', host_prefix .. host, id)
    return
  end
  local lost = about[5] == '1' and bump(key, 'lost', 1) or 0
  local claim = bump(key, 'claims', 1)
  redis.call('HSET', key, 'claimed', '1')
  redis.call('ZADD', host_prefix .. host, now + lease, id)
  for _, value in ipairs({ id, host, about[1] or '', about[2] or '', about[3] or '0', claim, lost, held }) do
    answer[#answer + 1] = value
  end
  busy[host] = (busy[host] or 0) + 1
  room = room - 1
end

local function serve(host, most)
  local free = math.min(most - (busy[host] or 0), room)
  if free <= 0 then return end
  local failures, opens = gate_of(host)
  local line, before, first, held = host_prefix .. host, now, 0, 0
  if failures >= most_failures then
    if opens > now then
      before, held = now - hold, 1
    else
      -- any of them, not always the oldest: that one may be what fails
      local waiting = redis.pcall('ZCOUNT', line, '-inf', now)
      if type(waiting) == 'number' and waiting > 0 then first = now % waiting end
      free = 1
      redis.call('HSET', gates, host, string.format('%.0f %.0f', failures, now + closed_for))
    end
  end
  local ids = redis.pcall('ZRANGEBYSCORE', line, '-inf', before, 'LIMIT', first, free)
  if not ids.err then
    for _, id in ipairs(ids) do give(host, id, held) end
  end
  settle(host)
end

-- each host gets a few before one gets many, and the last places are for hosts with few: slow hosts must not fill all
local due = redis.call('ZRANGEBYSCORE', hosts, '-inf', now, 'LIMIT', 0, 64 + hosts_busy)
for _, host in ipairs(due) do serve(host, math.min(small, each)) end
room = room - reserve
for _, host in ipairs(due) do serve(host, each) end
local first = redis.call('ZRANGE', hosts, 0, 0, 'WITHSCORES')
if #first > 0 then answer[1] = math.max(0, tonumber(first[2]) - now) end
return answer
