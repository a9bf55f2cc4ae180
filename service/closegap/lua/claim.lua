-- Give the first job that fits to a worker, after taking back what dead workers hold.
-- KEYS[1] root
-- ARGV[1] worker  ARGV[2] new token  ARGV[3] lease (ms)  ARGV[4] free cpus  ARGV[5] free gpus
-- ARGV[6] JSON list of kinds, "" for all
-- -> {ok, id, attempt} | {ok, "", bell, ms until something may change by itself or -1}
-- Asked again after a lost answer. A lease that has run out meanwhile is nobody's any more: the worker gets another job.
local asked = redis.call('GET', key('claim', ARGV[2]))
if asked and get(asked, 'token') == ARGV[2] then return {'ok', asked, get(asked, 'attempt')} end
reap()
promote()

local cpus, gpus, kinds = tonumber(ARGV[4]), tonumber(ARGV[5]), nil
if ARGV[6] ~= '' then
  kinds = {}
  for _, kind in ipairs(cjson.decode(ARGV[6])) do kinds[kind] = true end
end

local first, found = 0, nil
repeat
  local ids = redis.call('ZRANGE', key('queue'), first, first + 63)
  for _, id in ipairs(ids) do
    local facts = redis.call('HMGET', key('job', id), 'kind', 'request')
    local request = cjson.decode(facts[2])
    if request.cpus <= cpus and request.gpus <= gpus and (not kinds or kinds[facts[1]]) then
      found = id
      break
    end
  end
  first = first + 64
until found or #ids < 64

if not found then
  local top = redis.call('XREVRANGE', key('doorbell'), '+', '-', 'COUNT', 1)
  local due = -1
  for _, name in ipairs({'delayed', 'leases'}) do
    local next_one = redis.call('ZRANGE', key(name), 0, 0, 'WITHSCORES')
    if next_one[2] then
      local wait = math.max(0, tonumber(next_one[2]) - NOW)
      if due < 0 or wait < due then due = wait end
    end
  end
  return {'ok', '', top[1] and top[1][1] or '0-0', whole(due)}
end

redis.call('ZREM', key('queue'), found)
local attempt = redis.call('HINCRBY', key('job', found), 'attempt', 1)
local ends = NOW + ARGV[3]
redis.call('ZADD', key('leases'), whole(ends), found)
set(found, 'token', ARGV[2], 'owner', ARGV[1], 'lease_until', whole(ends))
redis.call('HDEL', key('job', found), 'progress', 'progress_at', 'closed')
redis.call('SET', key('claim', ARGV[2]), found, 'EX', 600)
move(found, 'claimed', 'attempt ' .. attempt, ARGV[1])
return {'ok', found, tostring(attempt)}
