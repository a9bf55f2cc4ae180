-- Who is next; shared by all scripts (record.lua has KEYS[1]). Waiting jobs of one project, kind and request stand in
-- one line, so that a claim looks at the heads of the lines, however many wait. A job's score is the time at which it
-- began to wait, less AGEING for each point of priority; the lowest is first. Scores never change by waiting: after n
-- minutes a job stands where one that comes now with n points more would stand, so nothing waits for ever behind what
-- came later.

local function ring(id) redis.call('XADD', key('doorbell'), 'MAXLEN', 1, '*', 'job', id) end

-- Times (us) of which no two are equal, so that scores follow the order of submission.
local function stamp()
  local fresh = math.max(MICROS, tonumber(redis.call('GET', key('stamp')) or 0) + 1)
  redis.call('SET', key('stamp'), whole(fresh))
  return fresh
end

local function refresh(line)
  local head = redis.call('ZRANGE', key('line', line), 0, 0, 'WITHSCORES')
  if head[1] then
    redis.call('ZADD', key('lines'), head[2], line)
  else
    redis.call('ZREM', key('lines'), line)
  end
end

-- Into its line, where it stands since it first waited: whoever comes back keeps the place, unless `since` was removed.
local function offer(id)
  local facts = redis.call('HMGET', key('job', id), 'line', 'priority', 'since', 'offered')
  local since = facts[3]
  if not since then
    since = whole(stamp())
    set(id, 'since', since)
  end
  if not facts[4] then set(id, 'offered', whole(NOW)) end
  redis.call('ZADD', key('line', facts[1]), whole(since - facts[2] * AGEING), id)
  refresh(facts[1])
  ring(id)
end

-- Out of its line, or of the back-off before it.
local function leave(id)
  local line = get(id, 'line')
  if redis.call('ZREM', key('line', line), id) == 1 then refresh(line) end
  if redis.call('ZREM', key('delayed'), id) == 1 then redis.call('HDEL', key('job', id), 'not_before') end
end

local function request_of(id) return cjson.decode(get(id, 'request')) end

-- What a project may still take: running jobs and GPUs.
local function spare(project)
  local limits = redis.call('HMGET', key('limits', project), 'running', 'gpus')
  local held = redis.call('HMGET', key('held', project), 'running', 'gpus')
  return {
    running = (tonumber(limits[1] or nil) or math.huge) - tonumber(held[1] or 0),
    gpus = (tonumber(limits[2] or nil) or math.huge) - tonumber(held[2] or 0),
  }
end

-- The first waiting job that fits: room = {cpus, gpus, kinds (set) or nil, freed (id of an owned job to be thought
-- away) or nil, skipped (set of ids) or nil}. nil where none does.
local function first_fitting(room)
  local spares, skipped, most = {}, room.skipped or {}, 0
  for _ in pairs(skipped) do most = most + 1 end
  if room.freed then
    local project = get(room.freed, 'project')
    spares[project] = spare(project)
    spares[project].running = spares[project].running + 1
    spares[project].gpus = spares[project].gpus + request_of(room.freed).gpus
  end
  local best, lowest = nil, math.huge
  local lines = redis.call('ZRANGE', key('lines'), 0, -1, 'WITHSCORES')
  for at = 1, #lines, 2 do
    -- Lines come by the score of their heads: behind this one nobody can be better.
    if tonumber(lines[at + 1]) >= lowest then break end
    local project, kind, cpus, gpus = string.match(lines[at], '^(.-)|(.-)|(.-)|(.+)$')
    cpus, gpus = tonumber(cpus), tonumber(gpus)
    if cpus <= room.cpus and gpus <= room.gpus and (not room.kinds or room.kinds[kind]) then
      spares[project] = spares[project] or spare(project)
      -- Shares of a GPU are added up: a billionth is no GPU.
      if spares[project].running >= 1 and gpus <= spares[project].gpus + 1e-9 then
        local ids = redis.call('ZRANGE', key('line', lines[at]), 0, most, 'WITHSCORES')
        for place = 1, #ids, 2 do
          if not skipped[ids[place]] then
            if tonumber(ids[place + 1]) < lowest then best, lowest = ids[place], tonumber(ids[place + 1]) end
            break
          end
        end
      end
    end
  end
  return best
end
