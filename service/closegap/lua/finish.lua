-- The attempt is over for good: running -> succeeded with its outputs, or claimed, running -> cancelled as was wished.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] attempt  ARGV[3] token  ARGV[4] succeeded | cancelled  ARGV[5] outputs (JSON)
-- -> {ok} | lost | missing | conflict
local id, to = ARGV[1], ARGV[4]
if get(id, 'closed') == to .. ':' .. ARGV[3] then return {'ok'} end
local stranger = refuse_stranger(id, ARGV[2], ARGV[3])
if stranger then return stranger end
local wish, owner = get(id, 'wish'), get(id, 'owner')
if to == 'cancelled' and not wish then return {'conflict', 'nobody asked for job ' .. id .. ' to be cancelled'} end
if to == 'succeeded' and get(id, 'state') ~= 'running' then
  return {'conflict', 'job ' .. id .. ' cannot succeed before it was started'}
end
drop_lease(id, to, ARGV[3])
if to == 'succeeded' then
  set(id, 'outputs', ARGV[5])
  redis.call('HDEL', key('job', id), 'error')
  move(id, to, 'attempt ' .. ARGV[2] .. ' is done', owner)
else
  move(id, to, 'cancelled by ' .. wish, owner)
end
settle(id)
return {'ok'}
