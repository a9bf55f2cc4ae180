-- Give the first job that fits to a worker, after taking back what dead workers hold. A drained worker gets none.
-- KEYS[1] root
-- ARGV[1] worker  ARGV[2] new token  ARGV[3] lease (ms)  ARGV[4] free cpus  ARGV[5] free gpus
-- ARGV[6] JSON list of kinds, "" for all
-- -> {ok, id, attempt, fence} | {ok, "", bell, ms until something may change by itself or -1}
-- Asked again after a lost answer. A lease that has run out meanwhile is nobody's any more: the worker gets another job.
local asked = redis.call('GET', key('claim', ARGV[2]))
if asked and get(asked, 'token') == ARGV[2] then return {'ok', asked, get(asked, 'attempt'), get(asked, 'fence')} end
reap()
promote()

local room = {cpus = tonumber(ARGV[4]), gpus = tonumber(ARGV[5])}
if ARGV[6] ~= '' then
  room.kinds = {}
  for _, kind in ipairs(cjson.decode(ARGV[6])) do room.kinds[kind] = true end
end
local drained = redis.call('HEXISTS', key('drained'), ARGV[1]) == 1
local found = not drained and first_fitting(room) or nil

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

leave(found)
local facts = redis.call('HMGET', key('job', found), 'kind', 'priority', 'offered')
local waited = NOW - (facts[3] or NOW)
observe(waited, 'queue_wait', facts[1], priority_class(tonumber(facts[2])))
local attempt, fence = redis.call('HINCRBY', key('job', found), 'attempt', 1), whole(redis.call('INCR', key('fence')))
local ends = NOW + ARGV[3]
redis.call('ZADD', key('leases'), whole(ends), found)
set(found, 'token', ARGV[2], 'owner', ARGV[1], 'lease_until', whole(ends), 'claimed', whole(NOW), 'fence', fence,
  'waited', whole(waited))
redis.call('HDEL', key('job', found), 'progress', 'progress_at', 'closed')
redis.call('SET', key('claim', ARGV[2]), found, 'EX', 600)
hold(found, 1)
expose(found)
move(found, 'claimed', 'attempt ' .. attempt, ARGV[1])
return {'ok', found, tostring(attempt), fence}
