-- A thousand transactions a request, each with an id of its own.
-- Arguments: path, file of rows, what the ids begin with, then "array" (JSON) or "lines" (NDJSON).
require "report"

local ROWS = 1000
local HEAD = '{"transaction_id":"'
local blocks, count, opening = {}, 0, ""
local path, prefix

function init(args)
  path, prefix = args[1], args[3]
  local array = args[4] == "array"
  local between, closing = "\n", "\n"
  if array then opening, between, closing = "[", ",", "]" end
  wrk.method = "POST"
  wrk.headers["Content-Type"] = array and "application/json" or "application/x-ndjson"
  local block = {}
  for line in io.lines(args[2]) do
    -- all but the row's head and its request's part of the id, so that one concat with these between makes a body
    block[#block + 1] = string.format("-%03d", #block) .. line:match('^{"transaction_id":"[^"]*(".*)$') .. between
    if #block == ROWS then
      block[ROWS] = block[ROWS]:sub(1, -2) .. closing
      blocks[#blocks + 1], block = block, {}
    end
  end
end

function request()
  count = count + 1
  local start = HEAD .. prefix .. string.format("%09d", count)
  return wrk.format(nil, path, nil, opening .. start .. table.concat(blocks[count % #blocks + 1], start))
end
