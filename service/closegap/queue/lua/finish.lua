-- The attempt is over: running -> succeeded with its outputs, or it has stopped and the job becomes what was wished.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] attempt  ARGV[3] token  ARGV[4] succeeded | stopped  ARGV[5] outputs (JSON)
-- -> {ok} | lost | missing | conflict
local id, how = ARGV[1], ARGV[4]
if get(id, 'closed') == how .. ':' .. ARGV[3] then return {'ok'} end
local stranger = refuse_stranger(id, ARGV[2], ARGV[3])
if stranger then return stranger end
if how == 'stopped' and not get(id, 'wish') then return {'conflict', 'nobody asked for job ' .. id .. ' to be stopped'} end
if how == 'succeeded' and get(id, 'state') ~= 'running' then
  return {'conflict', 'job ' .. id .. ' cannot succeed before it was started'}
end
local owner = get(id, 'owner')
local outcome = how
if how == 'stopped' then
  outcome = cjson.decode(get(id, 'wish')).to
  if outcome == 'queued' then outcome = 'preempted' end
end
local wished = drop_lease(id, how, ARGV[3], outcome, '')
if how == 'stopped' then
  heed(id, wished, owner)
else
  set(id, 'outputs', ARGV[5])
  redis.call('HDEL', key('job', id), 'error')
  move(id, how, 'attempt ' .. ARGV[2] .. ' is done', owner)
  settle(id)
end
return {'ok'}
