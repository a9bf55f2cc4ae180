-- Remove the records of one pipeline, if all of them have been over for long and no job of another pipeline needs one.
-- KEYS[1] root
-- ARGV[1] pipeline  ARGV[2] time (ms) before which they must have ended
-- -> {ok, id, ...}: those that were removed, none where the pipeline is kept
local pipeline = key('in', 'pipeline', ARGV[1])
local ids, ours = redis.call('ZRANGE', pipeline, 0, -1), {}
for _, id in ipairs(ids) do ours[id] = true end
for _, id in ipairs(ids) do
  local facts = redis.call('HMGET', key('job', id), 'state', 'finished')
  if not terminal(facts[1]) or tonumber(facts[2]) >= tonumber(ARGV[2]) then return {'ok'} end
  for _, dependent in ipairs(redis.call('SMEMBERS', key('dependents', id))) do
    if not ours[dependent] and redis.call('EXISTS', key('job', dependent)) == 1 then return {'ok'} end
  end
end

for _, id in ipairs(ids) do
  local facts = redis.call('HMGET', key('job', id), 'project', 'kind', 'state', 'name', 'labels', 'needs', 'keyed')
  local project, name = facts[1], facts[4]
  for what, value in pairs({project = project, kind = facts[2], pipeline = ARGV[1], state = facts[3]}) do
    redis.call('ZREM', key('in', what, value), id)
  end
  for label, value in pairs(cjson.decode(facts[5])) do
    redis.call('ZREM', key('in', 'label', label .. '=' .. value), id)
  end
  local named = key('in', 'name', project, name)
  redis.call('ZREM', named, id)
  if redis.call('EXISTS', named) == 0 then redis.call('SREM', key('names', project), name) end
  for _, need in pairs(cjson.decode(facts[6])) do redis.call('SREM', key('dependents', need), id) end
  -- The same key may make new jobs again: those that it stands for are no more.
  if facts[7] ~= '' then redis.call('DEL', key('key', project, facts[7])) end
  redis.call('ZREM', key('jobs'), id)
  redis.call('ZREM', key('ids', project), id)
  populate(project, facts[2], facts[3], -1)
  redis.call('DEL', key('job', id), key('events', id), key('dependents', id))
end
return {'ok', unpack(ids)}
