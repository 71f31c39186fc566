-- record: stores synchronous decisions; a known id stays as it is.
-- KEYS: feed, totals.
-- ARGV: record key prefix, TTL in s, feed length, 1 where the records of known ids are wanted, else 0, then id, record
-- and decision by turns.
-- Answers one string a decision: '' it is new, else the record that the id already has, or '!' where it is not wanted.
local feed, totals = KEYS[1], KEYS[2]
local prefix, ttl, length, wanted = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
local answers, recorded = {}, 0
for i = 5, #ARGV, 3 do
  local key = prefix .. ARGV[i]
  if redis.call('SET', key, ARGV[i + 1], 'NX', 'EX', ttl) then
    redis.call('XADD', feed, '*', 'd', ARGV[i + 2])
    recorded = recorded + 1
    answers[#answers + 1] = ''
  else
    local known = wanted and redis.pcall('GET', key)
    answers[#answers + 1] = type(known) == 'table' and '?' or known or '!'
  end
end
if recorded > 0 then
  redis.call('XTRIM', feed, 'MAXLEN', '~', length)
  bump(totals, 'recorded', recorded)
end
return answers
