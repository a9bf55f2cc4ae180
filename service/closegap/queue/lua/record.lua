-- What all scripts share: the record of a job, its events, its indices and the one way in which its state changes.
-- scripts.py puts record.lua, lines.lua and ownership.lua before each script, after lines that define TRANSITIONS and
-- AGEING (from job.py), BUCKETS and PRIORITY_CLASSES (from tallies.py).
--
-- KEYS[1] of every script is the namespace's root, a hash tag: "{closegap}". Every other key begins with it, so that
-- all of them lie in one slot of a cluster. They are:
--   :seq               string  number of the last job
--   :job:<id>          hash    the record
--   :jobs              zset    id by number
--   :in:<what>:<value> zset    the same of one project, kind, pipeline, state or label (key=value)
--   :projects          set     projects that have a job or a limit
--   :limits:<project>  hash    running, gpus: what it may hold at most
--   :held:<project>    hash    running, gpus: what its owned jobs hold
--   :in:name:<project>:<name> zset the same of one name of a project
--   :names:<project>   set     names of its jobs
--   :ids:<project>     zset    ids, all of score 0, for their beginnings
--   :dependents:<id>   set     ids of the jobs that need this one
--   :line:<line>       zset    ids of one project, kind and request that may be claimed, by score (see lines.lua)
--   :lines             zset    lines that are not empty, by the score of their first
--   :fence             string  number of the last claim, of whatever job
--   :stamp             string  the last time (us) that was given to a job that began to wait
--   :delayed           zset    ids that back off, by the time (ms) from which they may be claimed
--   :leases            zset    ids that are owned, by the time (ms) at which the lease ends
--   :preemptible       zset    ids that are owned and may be preempted, the first to go first
--   :events:<id>       stream  of one job
--   :doorbell          stream  one entry, new whenever something may be claimed
--   :key:<project>:<key> string {digest, ids} of an idempotent submission
--   :claim:<token>     string  id that this token claimed, so that a claim whose answer was lost can be asked again
--   :workers           hash    worker -> capacity and the time it was last seen
--   :token:<id>, :tokens, :session:<sha256>  who may use the HTTP API (see tokens.py, session.py)
--   :bucket:<name>     hash    left, seen: tokens of one caller's requests (see shares.py)
--   :seats:<room>      zset    event streams of one caller, by the time (ms) at which the seat ends
--   :audit             stream  who changed what (see audit.py)
--   :drained           hash    worker -> who asked it to claim nothing
--   :population        hash    project|kind|state -> how many jobs there are
--   :counts            hash    what happened, in numbers that only grow (see tallies.py)
-- Scripts answer {status, ...}; a status other than "ok" is an error that scripts.py raises.
-- Every check comes before the first write: Redis does not undo a script that fails half-way.

local root = KEYS[1]
local clock = redis.call('TIME')
-- The store's clock is the only one: workers' clocks may differ.
local MICROS = clock[1] * 1000000 + clock[2]
local NOW = math.floor(MICROS / 1000)

local function key(...) return root .. ':' .. table.concat({...}, ':') end
local function whole(number) return string.format('%.0f', number) end
local function get(id, field) return redis.call('HGET', key('job', id), field) end
local function set(id, ...) redis.call('HSET', key('job', id), ...) end
local function terminal(state) return #TRANSITIONS[state] == 0 end

local function event(id, kind, data)
  redis.call('XADD', key('events', id), '*', 'type', kind, 'time', whole(NOW), 'data', cjson.encode(data))
end

-- Count what happens, in the script in which it happens: no worker that dies takes a number with it.
local function count(number, ...) redis.call('HINCRBY', key('counts'), table.concat({...}, '|'), number) end

-- A duration (ms) into the histogram of a name and its labels.
local function observe(ms, name, ...)
  local place = 1
  while BUCKETS[name][place] and ms > BUCKETS[name][place] do place = place + 1 end
  local labels = table.concat({name, ...}, '|')
  count(1, labels, place)
  count(string.format('%.0f', ms * 1000), labels, 'sum')
end

local function priority_class(priority)
  for _, class in ipairs(PRIORITY_CLASSES) do
    if priority <= class[2] then return class[1] end
  end
end

local function populate(project, kind, state, number)
  local field = project .. '|' .. kind .. '|' .. state
  if redis.call('HINCRBY', key('population'), field, number) == 0 then redis.call('HDEL', key('population'), field) end
end

-- The record has changed in a way that whoever edits it must know of: all but progress and the end of the lease.
local function touch(id)
  redis.call('HINCRBY', key('job', id), 'version', 1)
  set(id, 'updated', whole(NOW))
end

-- The one place where a state changes. Callers have checked that the move is in TRANSITIONS.
local function move(id, to, reason, actor)
  local from = get(id, 'state')
  local legal = false
  for _, state in ipairs(TRANSITIONS[from]) do legal = legal or state == to end
  if not legal then error('no transition from ' .. from .. ' to ' .. to .. ' for job ' .. id) end
  set(id, 'state', to, 'reason', reason)
  touch(id)
  redis.call('ZREM', key('in', 'state', from), id)
  redis.call('ZADD', key('in', 'state', to), get(id, 'seq'), id)
  local facts = redis.call('HMGET', key('job', id), 'project', 'kind')
  populate(facts[1], facts[2], from, -1)
  populate(facts[1], facts[2], to, 1)
  if from == 'queued' then redis.call('HDEL', key('job', id), 'offered') end
  event(id, 'state', {from = from, to = to, reason = reason, actor = actor})
  if terminal(to) then
    set(id, 'finished', whole(NOW))
    count(1, 'finished', facts[2], to)
    event(id, 'end', {state = to})
  end
end

-- Ask the owner of a job to stop and let it become `to`; a wish that says more stands. Whether it was taken down.
local WEIGHT = {queued = 1, paused = 2, cancelled = 3}
local function wish(id, to, actor, reason, beneficiary)
  local before = get(id, 'wish')
  if before and WEIGHT[cjson.decode(before).to] >= WEIGHT[to] then return false end
  set(id, 'wish', cjson.encode({to = to, actor = actor, reason = reason, beneficiary = beneficiary}))
  touch(id)
  event(id, 'wish', {to = to, actor = actor, reason = reason})
  return true
end

-- Nothing is asked of the owner any more. An attempt that has heard of it stops all the same, and is run again.
local function withdraw(id, actor, reason)
  redis.call('HDEL', key('job', id), 'wish')
  touch(id)
  event(id, 'wish', {to = 'running', actor = actor, reason = reason})
end
