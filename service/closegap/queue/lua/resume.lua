-- Let a paused job wait again, as if it came now; withdraw the wish that one that runs be paused.
-- KEYS[1] root
-- ARGV[1] actor  ARGV[2] id
-- -> {ok} | missing | conflict
local actor, id = ARGV[1], ARGV[2]
local facts = redis.call('HMGET', key('job', id), 'state', 'wish', 'waiting')
local state = facts[1]
if not state then return {'missing', 'there is no job ' .. id} end
if terminal(state) then return {'conflict', 'job ' .. id .. ' is over (' .. state .. '); only a paused one can be resumed'} end
if state == 'paused' then
  if tonumber(facts[3]) > 0 then
    move(id, 'blocked', 'resumed by ' .. actor .. '; waits for its needs', actor)
  else
    redis.call('HDEL', key('job', id), 'since')
    move(id, 'queued', 'resumed by ' .. actor, actor)
    offer(id)
  end
elseif facts[2] and cjson.decode(facts[2]).to == 'paused' then
  withdraw(id, actor, 'resumed by ' .. actor)
end
return {'ok'}
