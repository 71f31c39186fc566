-- observe: adds transactions to the history of their entities, each once, and answers what was kept before them.
-- KEYS: the entity of each part of each transaction, in order; an entity may come several times.
-- ARGV: for each transaction the number of its parts, then of each its event and how long its entity is kept, in ms.
-- Answers for each transaction 1 where one of its entities knows its id already, so that nothing was added, else 0; then
-- what was kept of each of its entities, '' where nothing was.
-- Nothing is computed here, and an id is found as the bytes that it is: 8 that are as good as random, behind the event's
-- first. A Redis that is full refuses the first write, so nothing is half added.
local answers, part, at = {}, 0, 1
while at <= #ARGV do
  local parts = tonumber(ARGV[at])
  local id = string.sub(ARGV[at + 1], 2, 9)
  local own = #answers + 1
  answers[own] = 0
  for i = 1, parts do
    local kept = redis.pcall('GET', KEYS[part + i])
    if type(kept) == 'table' then
      -- what is no string is not ours: no reason to leave the others half added
      redis.call('DEL', KEYS[part + i])
      kept = false
    end
    answers[own + i] = kept or ''
    if kept and string.find(kept, id, 1, true) then answers[own] = 1 end
  end
  if answers[own] == 0 then
    for i = 1, parts do
      redis.call('APPEND', KEYS[part + i], ARGV[at + 2 * i - 1])
      redis.call('PEXPIRE', KEYS[part + i], ARGV[at + 2 * i])
    end
  end
  part, at = part + parts, at + 1 + 2 * parts
end
return answers
