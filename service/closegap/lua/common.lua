-- What all scripts share; scripts.py puts it before each of them, after a line that defines TRANSITIONS (from job.py).
--
-- KEYS[1] of every script is the namespace's root, a hash tag: "{closegap}". Every other key begins with it, so that
-- all of them lie in one slot of a cluster. They are:
--   :seq            string  number of the last job
--   :job:<id>       hash    the record
--   :jobs           zset    id by number; :in:<state> the same for each state; :ids zset of score 0, for prefixes
--   :names          hash    name -> newest id
--   :dependents:<id> set    ids of the jobs that need this one
--   :queue          zset    ids that may be claimed, by priority, then number
--   :delayed        zset    ids that back off, by the time (ms) from which they may be claimed
--   :leases         zset    ids that are owned, by the time (ms) at which the lease ends
--   :events:<id>    stream  of one job
--   :doorbell       stream  one entry, new whenever something may be claimed
--   :key:<key>      string  {digest, ids} of an idempotent submission
--   :claim:<token>  string  id that this token claimed, so that a claim whose answer was lost can be asked again
--   :workers        hash    worker -> capacity and the time it was last seen
-- Scripts answer {status, ...}; a status other than "ok" is an error that scripts.py raises.
-- Every check comes before the first write: Redis does not undo a script that fails half-way.

local root = KEYS[1]
local clock = redis.call('TIME')
-- The store's clock is the only one: workers' clocks may differ.
local NOW = clock[1] * 1000 + math.floor(clock[2] / 1000)

local function key(...) return root .. ':' .. table.concat({...}, ':') end
local function whole(number) return string.format('%.0f', number) end
local function get(id, field) return redis.call('HGET', key('job', id), field) end
local function set(id, ...) redis.call('HSET', key('job', id), ...) end
local function terminal(state) return #TRANSITIONS[state] == 0 end

local function event(id, kind, data)
  redis.call('XADD', key('events', id), '*', 'type', kind, 'time', whole(NOW), 'data', data)
end

-- The one place where a state changes. Callers have checked that the move is in TRANSITIONS.
local function move(id, to, reason, actor)
  local from = get(id, 'state')
  local legal = false
  for _, state in ipairs(TRANSITIONS[from]) do legal = legal or state == to end
  if not legal then error('no transition from ' .. from .. ' to ' .. to .. ' for job ' .. id) end
  local seq = get(id, 'seq')
  set(id, 'state', to, 'reason', reason, 'updated', whole(NOW))
  redis.call('ZREM', key('in', from), id)
  redis.call('ZADD', key('in', to), seq, id)
  event(id, 'state', cjson.encode({from = from, to = to, reason = reason, actor = actor}))
  if terminal(to) then
    set(id, 'finished', whole(NOW))
    event(id, 'end', cjson.encode({state = to}))
  end
end

-- Priority first (higher wins), then the order of submission; a job that comes back keeps its number.
local function offer(id)
  local priority, seq = get(id, 'priority'), get(id, 'seq')
  redis.call('ZADD', key('queue'), (100 - priority) * 2 ^ 40 + seq, id)
  redis.call('XADD', key('doorbell'), 'MAXLEN', 1, '*', 'job', id)
end

-- After `id` has reached a terminal state: start what waited only for it, cancel what can no longer run.
local function settle(id)
  local done = {id}
  while #done > 0 do
    local need = table.remove(done)
    local state = get(need, 'state')
    for _, dependent in ipairs(redis.call('SMEMBERS', key('dependents', need))) do
      if get(dependent, 'state') == 'blocked' then
        if state == 'succeeded' then
          if redis.call('HINCRBY', key('job', dependent), 'waiting', -1) == 0 then
            move(dependent, 'queued', 'all its needs have succeeded', 'queue')
            offer(dependent)
          end
        else
          set(dependent, 'cancelled_by', need)
          move(dependent, 'cancelled', 'its need ' .. get(need, 'name') .. ' (' .. need .. ') ' ..
            (state == 'failed' and 'failed' or 'was cancelled'), 'queue')
          table.insert(done, dependent)
        end
      end
    end
  end
end

-- nil when (attempt, token) is the lease on the job, else the answer that refuses the write.
-- A lease that has run out but was not reaped is still the only one there is: nobody else can have started the job,
-- so its own attempt may go on (a laptop that slept loses nothing if no worker was there to take over).
local function refuse_stranger(id, attempt, token)
  local held = redis.call('HMGET', key('job', id), 'state', 'attempt', 'token', 'owner')
  if not held[1] then return {'missing', 'there is no job ' .. id} end
  if (held[1] == 'claimed' or held[1] == 'running') and held[2] == attempt and held[3] == token then return nil end
  local holder = terminal(held[1]) and 'is over (' .. held[1] .. ')' or
    'is ' .. held[1] .. ', at attempt ' .. held[2] .. (held[4] and ' of ' .. held[4] or '')
  return {'lost', 'attempt ' .. attempt .. ' no longer owns job ' .. id .. ', which ' .. holder}
end

-- Give the lease up. `closed` remembers by which operation, so that asking again after a lost answer is no error.
local function drop_lease(id, operation, token)
  redis.call('ZREM', key('leases'), id)
  redis.call('HDEL', key('job', id), 'token', 'owner', 'lease_until')
  set(id, 'closed', operation .. ':' .. token)
end

-- An attempt is over without success: run the job again if its budget for this class of failure allows, after
-- `delay` ms (doubled for each one spent, never above `cap`).
local function again_or_over(id, class, reason, actor, delay, cap)
  if get(id, 'wish') then
    move(id, 'cancelled', 'cancelled by ' .. get(id, 'wish') .. ' (' .. reason .. ')', actor)
    return settle(id)
  end
  local budget = cjson.decode(get(id, 'retries'))[class]
  local spent = tonumber(get(id, 'spent:' .. class) or 0)
  if budget ~= cjson.null and spent >= budget then
    local tried = spent > 0 and ', after ' .. spent .. ' retries' or ''
    move(id, 'failed', class .. ' failure' .. tried .. ': ' .. reason, actor)
    return settle(id)
  end
  set(id, 'spent:' .. class, spent + 1)
  redis.call('HDEL', key('job', id), 'started')
  local allowed = budget == cjson.null and '' or ' of ' .. whole(budget)
  move(id, 'queued', reason .. ' (retry ' .. spent + 1 .. allowed .. ', ' .. class .. ')', actor)
  if delay <= 0 then return offer(id) end
  local due = NOW + math.min(cap, delay * 2 ^ math.min(spent, 30))
  set(id, 'not_before', whole(due))
  redis.call('ZADD', key('delayed'), whole(due), id)
  -- Sleeping workers must learn the new time at which there is something to do.
  redis.call('XADD', key('doorbell'), 'MAXLEN', 1, '*', 'job', id)
end

-- Take every job back whose lease has run out. No delay: the lease was the wait.
local function reap()
  local lost = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', whole(NOW))
  for _, id in ipairs(lost) do
    local owner, attempt, token = get(id, 'owner'), get(id, 'attempt'), get(id, 'token')
    drop_lease(id, 'reap', token)
    local reason = 'worker ' .. owner .. ' was not heard of in time; the lease of attempt ' .. attempt .. ' has run out'
    set(id, 'error', cjson.encode({failure = 'infrastructure', message = reason}))
    again_or_over(id, 'infrastructure', reason, 'queue', 0, 0)
  end
  return lost
end

-- Put jobs whose back-off is over into the line.
local function promote()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('delayed'), '-inf', whole(NOW))) do
    redis.call('ZREM', key('delayed'), id)
    redis.call('HDEL', key('job', id), 'not_before')
    offer(id)
  end
end
