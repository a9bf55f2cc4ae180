-- Change what of a record users may change, if it is at the version that they have seen.
-- KEYS[1] root
-- ARGV[1] actor  ARGV[2] id  ARGV[3] version or ""  ARGV[4] priority or ""  ARGV[5] labels (JSON; null removes) or ""
-- ARGV[6] labels that a job may have
-- -> {ok} | missing | changed | conflict
local actor, id, expected = ARGV[1], ARGV[2], ARGV[3]
local facts = redis.call('HMGET', key('job', id), 'state', 'version', 'priority', 'labels', 'seq')
local state = facts[1]
if not state then return {'missing', 'there is no job ' .. id} end
if expected ~= '' and expected ~= facts[2] then
  return {'changed', 'job ' .. id .. ' has changed meanwhile: it is at version ' .. facts[2] .. ', not ' .. expected}
end
local priority = ARGV[4] ~= '' and ARGV[4] ~= facts[3] and ARGV[4]
if priority and terminal(state) then
  return {'conflict', 'job ' .. id .. ' is over (' .. state .. '): its priority has no meaning any more'}
end

local before, labels, many = cjson.decode(facts[4]), cjson.decode(facts[4]), 0
local asked = ARGV[5] ~= '' and cjson.decode(ARGV[5]) or {}
for name, value in pairs(asked) do labels[name] = value ~= cjson.null and value or nil end
for _ in pairs(labels) do many = many + 1 end
if many > tonumber(ARGV[6]) then
  return {'conflict', 'job ' .. id .. ' would have ' .. many .. ' labels; accepted: at most ' .. ARGV[6]}
end

local edited = false
for name in pairs(asked) do
  if labels[name] ~= before[name] then
    if before[name] then redis.call('ZREM', key('in', 'label', name .. '=' .. before[name]), id) end
    if labels[name] then redis.call('ZADD', key('in', 'label', name .. '=' .. labels[name]), facts[5], id) end
    edited = true
  end
end
if edited then set(id, 'labels', cjson.encode(labels)) end
if priority then
  set(id, 'priority', priority)
  -- Who waits in a line stands elsewhere in it from now on.
  if redis.call('ZSCORE', key('line', get(id, 'line')), id) then offer(id) end
  if redis.call('ZREM', key('preemptible'), id) == 1 then expose(id) end
end
if edited or priority then
  touch(id)
  event(id, 'change', {actor = actor, priority = tonumber(get(id, 'priority')), labels = labels})
end
return {'ok'}
