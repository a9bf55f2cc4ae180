-- Who owns a job, and what becomes of it when its owner is done with it, or lost; shared by all scripts (record.lua
-- has KEYS[1]).

-- After `id` has reached a terminal state: start what waited only for it, cancel what can no longer run.
local function settle(id)
  local done = {id}
  while #done > 0 do
    local need = table.remove(done)
    local state = get(need, 'state')
    for _, dependent in ipairs(redis.call('SMEMBERS', key('dependents', need))) do
      local now = get(dependent, 'state')
      if now == 'blocked' or now == 'paused' then
        if state == 'succeeded' then
          if redis.call('HINCRBY', key('job', dependent), 'waiting', -1) == 0 and now == 'blocked' then
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

-- Count a job among what its project holds (sign 1), or no longer (-1).
local function hold(id, sign)
  local held = key('held', get(id, 'project'))
  redis.call('HINCRBYFLOAT', held, 'gpus', sign * request_of(id).gpus)
  if redis.call('HINCRBY', held, 'running', sign) == 0 then redis.call('DEL', held) end
end

-- Among those that may be preempted the lowest priority goes first, then who has least to lose: the last claimed.
local function expose(id)
  local facts = redis.call('HMGET', key('job', id), 'preemptible', 'priority', 'claimed')
  if facts[1] == '1' then
    redis.call('ZADD', key('preemptible'), whole(facts[2] * 1e13 - facts[3]), id)
  end
end

-- Give the lease up. `closed` remembers by which operation, so that asking again after a lost answer is no error.
-- `outcome` of the attempt, and the class of its failure or '', are counted. The wish that the owner had been told of,
-- if any: {to, actor, reason}.
local function drop_lease(id, operation, token, outcome, class)
  local wished = get(id, 'wish')
  local facts = redis.call('HMGET', key('job', id), 'kind', 'started')
  count(1, 'attempts', facts[1], outcome, class)
  if facts[2] then observe(NOW - facts[2], 'run', facts[1]) end
  redis.call('ZREM', key('leases'), id)
  redis.call('ZREM', key('preemptible'), id)
  redis.call('HDEL', key('job', id), 'token', 'owner', 'lease_until', 'wish')
  set(id, 'closed', operation .. ':' .. token)
  hold(id, -1)
  -- What waited for a limit of the project may be claimed by anybody now.
  if redis.call('EXISTS', key('limits', get(id, 'project'))) == 1 then ring(id) end
  return wished and cjson.decode(wished) or nil
end

-- An attempt is over without success: run the job again if its budget for this class of failure allows, after
-- `delay` ms (doubled for each one spent, never above `cap`); or do what was wished in place of running it again.
local function again_or_over(id, wished, class, reason, actor, delay, cap)
  if wished and wished.to == 'cancelled' then
    move(id, 'cancelled', 'cancelled by ' .. wished.actor .. ' (' .. reason .. ')', actor)
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
  if wished and wished.to == 'paused' then
    return move(id, 'paused', 'paused by ' .. wished.actor .. ' (' .. reason .. ')', actor)
  end
  local allowed = budget == cjson.null and '' or ' of ' .. whole(budget)
  move(id, 'queued', reason .. ' (retry ' .. spent + 1 .. allowed .. ', ' .. class .. ')', actor)
  if delay <= 0 then return offer(id) end
  local due = NOW + math.min(cap, delay * 2 ^ math.min(spent, 30))
  set(id, 'not_before', whole(due))
  redis.call('ZADD', key('delayed'), whole(due), id)
  -- Sleeping workers must learn the new time at which there is something to do.
  ring(id)
end

-- The attempt has stopped as was wished.
local function heed(id, wished, actor)
  if wished.to == 'cancelled' then
    move(id, 'cancelled', 'cancelled by ' .. wished.actor, actor)
    return settle(id)
  end
  redis.call('HDEL', key('job', id), 'started')
  if wished.to == 'paused' then return move(id, 'paused', 'paused by ' .. wished.actor, actor) end
  -- Who was preempted waits from now on: with its old place it would be ahead of the job that it made way for.
  if wished.beneficiary then redis.call('HDEL', key('job', id), 'since') end
  again_or_over(id, nil, 'preempted', wished.reason, actor, 0, 0)
end

-- Take every job back whose lease has run out. No delay: the lease was the wait.
local function reap()
  local lost = redis.call('ZRANGEBYSCORE', key('leases'), '-inf', whole(NOW))
  for _, id in ipairs(lost) do
    local owner, attempt, token = get(id, 'owner'), get(id, 'attempt'), get(id, 'token')
    local wished = drop_lease(id, 'reap', token, 'lost', 'infrastructure')
    local reason = 'worker ' .. owner .. ' was not heard of in time; the lease of attempt ' .. attempt .. ' has run out'
    set(id, 'error', cjson.encode({failure = 'infrastructure', message = reason}))
    again_or_over(id, wished, 'infrastructure', reason, 'queue', 0, 0)
  end
  return lost
end

-- Put jobs whose back-off is over into their lines.
local function promote()
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', key('delayed'), '-inf', whole(NOW))) do
    redis.call('ZREM', key('delayed'), id)
    redis.call('HDEL', key('job', id), 'not_before')
    offer(id)
  end
end
