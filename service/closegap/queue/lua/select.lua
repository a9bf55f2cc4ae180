-- Ids of the jobs that are in one index of each dimension, newest first.
-- KEYS[1] root
-- ARGV[1] JSON list of dimensions, each a list of indices (such as "state:queued"; "name:<project>:<name>" with `*` for
--         the project is that name in each)  ARGV[2] a pattern of names, with `*`, or ""
-- ARGV[3] created from (ms) or ""  ARGV[4] created before (ms) or ""  ARGV[5] limit  ARGV[6] number to begin below or ""
-- -> {ok, number to go on below or "", id, ...}; fewer than the limit may come before the end
local MOST = 2000 -- jobs looked at in one call: others want to be served too
local BATCH = 64
local limit = tonumber(ARGV[5])

-- The lowest number of a job that was created at or after a time: numbers and times grow together.
local function number_at(time)
  local low, high = 0, redis.call('ZCARD', key('jobs'))
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = redis.call('ZRANGE', key('jobs'), middle, middle)[1]
    if tonumber(get(id, 'created')) < time then low = middle + 1 else high = middle end
  end
  local found = redis.call('ZRANGE', key('jobs'), low, low, 'WITHSCORES')
  return found[2] and tonumber(found[2]) or math.huge
end

local function size(indices)
  local total = 0
  for _, index in ipairs(indices) do total = total + redis.call('ZCARD', index) end
  return total
end

-- The next (id, number) of an index at each call.
local function walk(index, below)
  local batch, at = {}, 1
  return function()
    if at > #batch then
      batch, at = redis.call('ZREVRANGEBYSCORE', index, '(' .. below, '-inf', 'WITHSCORES', 'LIMIT', 0, BATCH), 1
    end
    if not batch[1] then return nil end
    local id, number = batch[at], batch[at + 1]
    at, below = at + 2, number
    return id, tonumber(number)
  end
end

local function belongs(id, indices)
  for _, index in ipairs(indices) do
    if redis.call('ZSCORE', index, id) then return true end
  end
  return false
end

local dimensions = {{key('jobs')}}
for _, indices in ipairs(cjson.decode(ARGV[1])) do
  local named = {}
  for _, index in ipairs(indices) do
    local name = string.match(index, '^name:%*:(.*)$')
    if name then
      for _, project in ipairs(redis.call('SMEMBERS', key('projects'))) do
        table.insert(named, key('in', 'name', project, name))
      end
    else
      table.insert(named, key('in', index))
    end
  end
  table.insert(dimensions, named)
end
-- Walk the smallest, ask the others.
local smallest = 1
for place, indices in ipairs(dimensions) do
  if size(indices) < size(dimensions[smallest]) then smallest = place end
end

-- What lies between the stars of the pattern, in order; none where there is no pattern. Each is looked for once, so that
-- many stars take no longer: a pattern of Lua's with many `.*` would stop the store for everybody.
local pieces = {}
if ARGV[2] ~= '' then
  for piece in string.gmatch(ARGV[2] .. '*', '(.-)%*') do table.insert(pieces, piece) end
end
local function fits(name)
  local first, last = pieces[1], pieces[#pieces]
  if string.sub(name, 1, #first) ~= first then return false end
  local at = #first + 1
  for place = 2, #pieces - 1 do
    local _, stop = string.find(name, pieces[place], at, true)
    if not stop then return false end
    at = stop + 1
  end
  local rest = #name - #last + 1
  return rest >= at and string.sub(name, rest) == last
end

local function wanted(id)
  for place, indices in ipairs(dimensions) do
    if place ~= smallest and place ~= 1 and not belongs(id, indices) then return false end
  end
  return not pieces[1] or fits(get(id, 'name'))
end

local least = ARGV[3] ~= '' and number_at(tonumber(ARGV[3])) or -math.huge
local below = ARGV[6] ~= '' and tonumber(ARGV[6]) or math.huge
if ARGV[4] ~= '' then below = math.min(below, number_at(tonumber(ARGV[4]))) end
local start = below == math.huge and '+inf' or whole(below)
local walks, ids, numbers = {}, {}, {}
for place, index in ipairs(dimensions[smallest]) do
  walks[place] = walk(index, start)
  ids[place], numbers[place] = walks[place]()
end

local found, looked, last = {}, 0, nil
while true do
  local newest
  for place = 1, #walks do
    if ids[place] and (not newest or numbers[place] > numbers[newest]) then newest = place end
  end
  if not newest or numbers[newest] < least then return {'ok', '', unpack(found)} end
  if looked >= MOST then return {'ok', whole(last), unpack(found)} end
  looked = looked + 1
  if wanted(ids[newest]) then
    -- One more than the limit is looked for, to know whether there is another page.
    if #found == limit then return {'ok', whole(last), unpack(found)} end
    table.insert(found, ids[newest])
  end
  last = numbers[newest]
  ids[newest], numbers[newest] = walks[newest]()
end
