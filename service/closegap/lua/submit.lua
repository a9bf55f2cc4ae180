-- Record a whole submission, or nothing of it.
-- KEYS[1] root
-- ARGV[1] idempotency key  ARGV[2] digest of all specs  ARGV[3] seconds the key is kept, 0 for ever  ARGV[4] actor
-- ARGV[5] JSON list of {id, kind, name, spec, digest, priority, needs (JSON text), after: [ids], retries (JSON text),
--         request (JSON text), pipeline, work, retry_of?}
-- -> {ok, id, ...} (those of the first submission where the key is known) | conflict | missing | taken
local idempotency = key('key', ARGV[1])
local before = redis.call('GET', idempotency)
if before then
  before = cjson.decode(before)
  if before.digest ~= ARGV[2] then
    return {'conflict', 'the key ' .. ARGV[1] .. ' was used for another spec, which became ' .. table.concat(before.ids, ', ')}
  end
  return {'ok', unpack(before.ids)}
end

local jobs, ids, ours = cjson.decode(ARGV[5]), {}, {}
for index, job in ipairs(jobs) do
  ids[index], ours[job.id] = job.id, true
  if redis.call('EXISTS', key('job', job.id)) == 1 then return {'taken', job.id} end
end
for _, job in ipairs(jobs) do
  for _, need in ipairs(job.after) do
    if not ours[need] and not get(need, 'state') then return {'missing', 'there is no job ' .. need} end
  end
  local retried = job.retry_of and get(job.retry_of, 'retried_as')
  if retried then return {'conflict', 'job ' .. job.retry_of .. ' was already retried as ' .. retried} end
end

local pending = {}
for _, job in ipairs(jobs) do
  local seq, waiting, lost = redis.call('INCR', key('seq')), 0, nil
  for _, need in ipairs(job.after) do
    local state = not ours[need] and get(need, 'state') or 'blocked'
    redis.call('SADD', key('dependents', need), job.id)
    if state == 'failed' or state == 'cancelled' then lost = need end
    if state ~= 'succeeded' then waiting = waiting + 1 end
  end
  local state = waiting > 0 and 'blocked' or 'queued'
  local reason = waiting > 0 and 'waits for its needs' or 'submitted'
  set(job.id, 'id', job.id, 'kind', job.kind, 'name', job.name, 'spec', job.spec, 'digest', job.digest,
    'priority', job.priority, 'needs', job.needs, 'retries', job.retries, 'request', job.request,
    'pipeline', job.pipeline, 'work', job.work, 'submitted_by', ARGV[4], 'seq', seq, 'waiting', waiting,
    'attempt', 0, 'state', state, 'reason', reason, 'created', whole(NOW), 'updated', whole(NOW))
  if job.retry_of then
    set(job.id, 'retry_of', job.retry_of)
    set(job.retry_of, 'retried_as', job.id)
  end
  redis.call('ZADD', key('jobs'), seq, job.id)
  redis.call('ZADD', key('in', state), seq, job.id)
  redis.call('ZADD', key('ids'), 0, job.id)
  redis.call('HSET', key('names'), job.name, job.id)
  event(job.id, 'state', cjson.encode({from = '', to = state, reason = reason, actor = ARGV[4]}))
  if state == 'queued' then offer(job.id) end
  if lost then table.insert(pending, lost) end
end
-- A need that had failed before takes its new dependents with it at once.
for _, need in ipairs(pending) do settle(need) end

redis.call('SET', idempotency, cjson.encode({digest = ARGV[2], ids = ids}))
if tonumber(ARGV[3]) > 0 then redis.call('EXPIRE', idempotency, ARGV[3]) end
return {'ok', unpack(ids)}
