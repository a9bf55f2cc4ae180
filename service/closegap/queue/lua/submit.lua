-- Record a whole submission, or nothing of it.
-- KEYS[1] root
-- ARGV[1] project  ARGV[2] idempotency key  ARGV[3] digest of all specs  ARGV[4] seconds the key is kept, 0 for ever
-- ARGV[5] actor  ARGV[6] id of the request, or ""  ARGV[9] traceparent of the submission, or ""
-- ARGV[8] milliseconds that the audit stream goes back
-- ARGV[7] JSON list of {id, kind, name, spec, digest, priority, preemptible, labels (JSON text), needs (JSON text),
--         after: [ids], retries (JSON text), request: {cpus, gpus}, pipeline, work, retry_of?}
-- -> {ok, id, ...} (those of the first submission where the key is known) | reused | conflict | missing | taken
local project, actor = ARGV[1], ARGV[5]
local idempotency = key('key', project, ARGV[2])
local before = redis.call('GET', idempotency)
if before then
  before = cjson.decode(before)
  if before.digest ~= ARGV[3] then
    return {'reused', 'the key ' .. ARGV[2] .. ' was used for another spec, which became ' .. table.concat(before.ids, ', ')}
  end
  return {'ok', unpack(before.ids)}
end

local jobs, ids, ours = cjson.decode(ARGV[7]), {}, {}
for index, job in ipairs(jobs) do
  ids[index], ours[job.id] = job.id, true
  if redis.call('EXISTS', key('job', job.id)) == 1 then return {'taken', job.id} end
end
for _, job in ipairs(jobs) do
  for _, need in ipairs(job.after) do
    -- What another project has is not there.
    if not ours[need] and get(need, 'project') ~= project then return {'missing', 'there is no job ' .. need} end
  end
  local retried = job.retry_of and get(job.retry_of, 'retried_as')
  if retried then return {'conflict', 'job ' .. job.retry_of .. ' was already retried as ' .. retried} end
end

redis.call('SADD', key('projects'), project)
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
  local request = job.request
  set(job.id, 'id', job.id, 'project', project, 'kind', job.kind, 'name', job.name, 'spec', job.spec,
    'digest', job.digest, 'priority', job.priority, 'preemptible', job.preemptible and 1 or 0, 'labels', job.labels,
    'needs', job.needs, 'retries', job.retries, 'request', cjson.encode(request), 'pipeline', job.pipeline,
    'line', string.format('%s|%s|%.17g|%.17g', project, job.kind, request.cpus, request.gpus),
    'work', job.work, 'keyed', tonumber(ARGV[4]) == 0 and ARGV[2] or '', 'submitted_by', actor, 'request_id', ARGV[6], 'traceparent', ARGV[9], 'seq', seq, 'waiting', waiting,
    'attempt', 0, 'version', 1, 'state', state, 'reason', reason, 'created', whole(NOW), 'updated', whole(NOW))
  if job.retry_of then
    set(job.id, 'retry_of', job.retry_of)
    set(job.retry_of, 'retried_as', job.id)
    touch(job.retry_of)
  end
  redis.call('ZADD', key('jobs'), seq, job.id)
  for what, value in pairs({project = project, kind = job.kind, pipeline = job.pipeline, state = state}) do
    redis.call('ZADD', key('in', what, value), seq, job.id)
  end
  for name, value in pairs(cjson.decode(job.labels)) do
    redis.call('ZADD', key('in', 'label', name .. '=' .. value), seq, job.id)
  end
  redis.call('ZADD', key('ids', project), 0, job.id)
  populate(project, job.kind, state, 1)
  count(1, 'submitted', job.kind)
  redis.call('SADD', key('names', project), job.name)
  redis.call('ZADD', key('in', 'name', project, job.name), seq, job.id)
  event(job.id, 'state', {from = '', to = state, reason = reason, actor = actor})
  if state == 'queued' then offer(job.id) end
  if lost then table.insert(pending, lost) end
end
-- A need that had failed before takes its new dependents with it at once.
for _, need in ipairs(pending) do settle(need) end

-- Here, not by another command: it is the same write to the disk.
local more = #ids > 1 and ' and ' .. #ids - 1 .. ' more' or ''
redis.call('XADD', key('audit'), 'MINID', '~', whole(NOW - ARGV[8]), '*', 'actor', actor, 'project', project,
  'action', jobs[1].retry_of and 'job.retry' or 'job.submit', 'target', ids[1] .. more, 'request', ARGV[6])
redis.call('SET', idempotency, cjson.encode({digest = ARGV[3], ids = ids}))
if tonumber(ARGV[4]) > 0 then redis.call('EXPIRE', idempotency, ARGV[4]) end
return {'ok', unpack(ids)}
