-- One transaction a request, each with an id of its own.
-- Arguments: path, file of rows (NDJSON, transaction_id first), what the ids begin with, and by environment:
-- WRK_BEFORE, WRK_AFTER: what a peer wants around the transaction; WRK_PREFER: a Prefer header; WRK_AUTHORIZATION: a key;
-- WRK_MEAN_DELAY_MS: the mean pause of a connection between two requests, exponential: Poisson arrivals.
require "report"

local PLACE = "_____________________" -- 21 characters: the ids have a fixed width, so that Content-Length holds
local heads, tails, count, row, prefix = {}, {}, 0, 0, ""

function init(args)
  prefix = args[3]
  local before, after = os.getenv("WRK_BEFORE") or "", os.getenv("WRK_AFTER") or ""
  wrk.method = "POST"
  wrk.headers["Content-Type"] = "application/json"
  wrk.headers["Prefer"] = os.getenv("WRK_PREFER")
  wrk.headers["Authorization"] = os.getenv("WRK_AUTHORIZATION")
  for line in io.lines(args[2]) do
    local rest = line:match('^{"transaction_id":"[^"]*(".*)$')
    local whole = wrk.format(nil, args[1], nil, before .. '{"transaction_id":"' .. PLACE .. rest .. after)
    local first, last = whole:find(PLACE, 1, true)
    heads[#heads + 1], tails[#tails + 1] = whole:sub(1, first - 1), whole:sub(last + 1)
  end
  local mean = tonumber(os.getenv("WRK_MEAN_DELAY_MS"))
  if mean then
    math.randomseed(tonumber(prefix:match("%d+")))
    function delay() return math.floor(-mean * math.log(1 - math.random()) + 0.5) end
  end
end

function request()
  count, row = count + 1, row % #heads + 1
  return heads[row] .. prefix .. string.format("%09d", count) .. tails[row]
end
