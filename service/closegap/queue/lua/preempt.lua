-- Wish one owned job away for a waiting one of higher priority that would be given its worker.
-- KEYS[1] root
-- ARGV[1] ms within which this is decided once  ARGV[2] ms after which a worker that is silent does not count
-- -> {ok, id, id it makes way for} | {ok}
-- Who was asked to make way for a job that waits no longer (it went elsewhere, or was cancelled) may stay.
for _, id in ipairs(redis.call('ZRANGE', key('preemptible'), 0, -1)) do
  local wished = get(id, 'wish')
  local beneficiary = wished and cjson.decode(wished).beneficiary
  if beneficiary and get(beneficiary, 'state') ~= 'queued' then
    withdraw(id, 'queue', beneficiary .. ' waits no longer')
  end
end
if redis.call('EXISTS', key('lines')) == 0 or redis.call('EXISTS', key('preemptible')) == 0 then return {'ok'} end
if not redis.call('SET', key('preempted'), '1', 'NX', 'PX', ARGV[1]) then return {'ok'} end

local busy, served = {}, {}
for _, id in ipairs(redis.call('ZRANGE', key('leases'), 0, -1)) do
  local facts = redis.call('HMGET', key('job', id), 'owner', 'wish')
  busy[facts[1]] = true
  local wished = facts[2] and cjson.decode(facts[2])
  if wished and wished.beneficiary then served[wished.beneficiary] = true end
end

local rooms, idle = {}, {}
local workers = redis.call('HGETALL', key('workers'))
for at = 1, #workers, 2 do
  local told = cjson.decode(workers[at + 1])
  local capacity = cjson.decode(told.capacity)
  local room = {cpus = capacity.cpus, gpus = capacity.gpus, skipped = served}
  if capacity.kinds and capacity.kinds ~= cjson.null then
    room.kinds = {}
    for _, kind in ipairs(capacity.kinds) do room.kinds[kind] = true end
  end
  if NOW - told.seen < tonumber(ARGV[2]) and redis.call('HEXISTS', key('drained'), workers[at]) == 0 then
    rooms[workers[at]] = room
    if not busy[workers[at]] then table.insert(idle, room) end
  end
end

-- A job that a free worker can take makes nobody stop.
local function taken(candidate)
  for _, room in ipairs(idle) do
    if first_fitting(room) == candidate then return true end
  end
  return false
end

for _, id in ipairs(redis.call('ZRANGE', key('preemptible'), 0, -1)) do
  local facts = redis.call('HMGET', key('job', id), 'owner', 'wish', 'priority')
  local room = rooms[facts[1]]
  if room and not facts[2] then
    room.freed = id
    local candidate = first_fitting(room)
    local priority = candidate and get(candidate, 'priority')
    if candidate and tonumber(priority) > tonumber(facts[3]) and not taken(candidate) then
      wish(id, 'queued', 'queue', 'preempted by ' .. candidate .. ' (priority ' .. priority .. ')', candidate)
      return {'ok', id, candidate}
    end
  end
end
return {'ok'}
