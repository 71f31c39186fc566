-- finish: writes the outcomes of attempts to deliver callbacks.
-- KEYS: receiving hosts, gates, totals, pending callbacks, dead callbacks.
-- ARGV: callback key prefix, host key prefix, TTL in s, TTL of the dead in s, failures in a row that close a host's gate,
-- how long it stays closed in ms, attempts that are kept of a callback, then of each attempt its callback's id, host, message id, claim, the event (deliver, retry, give_up, or leave: it was
-- not tried), when to try again in ms from now, the attempt (empty: none was made), why it is given up, and what it says
-- of the host (1: it works, 0: it does not, empty: nothing), by turns.
-- An attempt of an expired claim is recorded; it changes the callback only if it was delivered.
local hosts, gates, totals, pending, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local callback_prefix, host_prefix, ttl, dead_ttl = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local most_failures, closed_for, kept = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
-- a script that has written is not refused for lack of memory: a full Redis must be able to drain
redis.call('HDEL', gates, '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local touched = {}

local function note(host, works)
  if works == '1' then
    redis.call('HDEL', gates, host)
  elseif works == '0' then
    local failures, opens = string.match(redis.call('HGET', gates, host) or '', '^(%d+) (%d+)$')
    failures, opens = (tonumber(failures) or 0) + 1, tonumber(opens) or 0
    -- those that were under way when it closed do not keep it closed for longer
    if failures >= most_failures and opens <= now then opens = now + closed_for end
    redis.call('HSET', gates, host, string.format('%.0f %.0f', failures, opens))
  else
    local failures = string.match(redis.call('HGET', gates, host) or '', '^(%d+) ')
    -- the one that came through says nothing: another may try at once
    if failures and tonumber(failures) >= most_failures then redis.call('HSET', gates, host, failures .. ' 0') end
  end
end

local function over(id, host, key, status, seconds)
  redis.call('HSET', key, 'status', status)
  redis.call('HDEL', key, 'due', 'claimed')
  redis.call('EXPIRE', key, seconds)
  redis.pcall('ZREM', host_prefix .. host, id)
  redis.call('ZREM', pending, id)
end

for i = 8, #ARGV, 9 do
  local id, host, message, claim, event = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3], ARGV[i + 4]
  local wait, attempt, reason, works = tonumber(ARGV[i + 5]), ARGV[i + 6], ARGV[i + 7], ARGV[i + 8]
  local key = callback_prefix .. id
  local about = redis.pcall('HMGET', key, 'id', 'status', 'claims', 'claimed')
  touched[host] = true
  note(host, works)
  -- a call whose answer was lost comes again, and has done all this
  local again = about[3] == claim and about[4] ~= '1'
  if about[1] == message and not again then
    if attempt ~= '' then
      local tries = bump(key, 'tries', 1)
      redis.call('HSET', key, 'a' .. tries, attempt)
      redis.call('HDEL', key, 'a' .. tries - kept)
      bump(totals, 'callbacks_attempted', 1)
    end
    if about[2] == 'pending' then
      if event == 'deliver' then
        -- as long as its transaction's record: one that has failed is kept for longer
        local kind = redis.call('HGET', key, 'event') or ''
        over(id, host, key, 'delivered', string.find(kind, '"type":"transaction.failed"', 1, true) and dead_ttl or ttl)
        bump(totals, 'callbacks_delivered', 1)
      elseif about[3] == claim then
        if event == 'give_up' then
          redis.call('HSET', key, 'reason', reason)
          over(id, host, key, 'dead', dead_ttl)
          redis.call('ZADD', dead, now, id)
          bump(totals, 'callbacks_dead', 1)
        else
          local due = now + wait
          if event == 'retry' then bump(key, 'step', 1) end
          redis.call('HSET', key, 'due', string.format('%.0f', due), 'claimed', '0', 'lost', '0')
          redis.pcall('ZADD', host_prefix .. host, due, id)
        end
      end
    end
  end
end

for host in pairs(touched) do
  local first = redis.pcall('ZRANGE', host_prefix .. host, 0, 0, 'WITHSCORES')
  if first.err or #first == 0 then
    redis.call('ZREM', hosts, host)
    redis.call('HDEL', gates, host)
  else
    -- where its gate is closed, take finds that, and puts it behind
    redis.call('ZADD', hosts, first[2], host)
  end
end
redis.call('ZREMRANGEBYSCORE', dead, '-inf', now - dead_ttl * 1000)
redis.call('EXPIRE', dead, dead_ttl)
return 1
