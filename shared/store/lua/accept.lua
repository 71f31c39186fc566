-- accept: stores and queues new transactions, each id once.
-- KEYS: undecided, waiting, totals.  ARGV: record key prefix, queue limit, then id and record by turns.
-- Answers one string a transaction: '' accepted, '!' no room, else the record that the id already has; then, where any
-- was accepted, how many ever were, and how many of them now.
local undecided, waiting, totals = KEYS[1], KEYS[2], KEYS[3]
local prefix, limit = ARGV[1], tonumber(ARGV[2])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local room = limit - redis.call('ZCARD', undecided)
local answers, scored, ids = {}, {}, {}
for i = 3, #ARGV, 2 do
  local id = ARGV[i]
  local key = prefix .. id
  -- nearly every id is new: one call says so and writes
  if #ids < room and redis.call('SET', key, ARGV[i + 1], 'NX') then
    scored[#scored + 1] = now
    scored[#scored + 1] = id
    ids[#ids + 1] = id
    answers[#answers + 1] = ''
  else
    local known = redis.pcall('GET', key)
    -- what is no string is not ours: nobody's repetition, and no reason to leave the others half accepted
    answers[#answers + 1] = type(known) == 'table' and '?' or known or '!'
  end
end
if #ids > 0 then
  -- one that was undecided and had lost its record is accepted once
  local new = redis.call('ZADD', undecided, unpack(scored))
  answers[#answers + 1] = bump(totals, 'accepted', new)
  answers[#answers + 1] = new
  redis.call('RPUSH', waiting, unpack(ids))
end
return answers
