-- announce: stores a process's heartbeat, and removes processes without one for their lifetime.
-- KEYS: processes.  ARGV: process, its state as JSON, lifetime in ms.
-- Answers the states of all live processes.
local processes, lifetime = KEYS[1], tonumber(ARGV[3])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- a script that has written is not refused for want of memory: heartbeats must go on then, too
redis.call('HDEL', processes, ARGV[1])
redis.call('HSET', processes, ARGV[1], string.format('%.0f ', now + lifetime) .. ARGV[2])
redis.call('PEXPIRE', processes, lifetime)
local all, live = redis.call('HGETALL', processes), {}
for i = 1, #all, 2 do
  local until_ms, state = string.match(all[i + 1], '^(%d+) (.*)$')
  if until_ms and tonumber(until_ms) > now then
    live[#live + 1] = state
  else
    redis.call('HDEL', processes, all[i])
  end
end
return live
