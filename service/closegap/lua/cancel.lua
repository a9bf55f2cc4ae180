-- Cancel a job that waits, at once; wish that one that runs be cancelled. A job that is over stays as it is.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] actor
-- -> {ok} | missing
local id, actor = ARGV[1], ARGV[2]
local state = get(id, 'state')
if not state then return {'missing', 'there is no job ' .. id} end
if state == 'blocked' or state == 'queued' then
  redis.call('ZREM', key('queue'), id)
  redis.call('ZREM', key('delayed'), id)
  redis.call('HDEL', key('job', id), 'not_before')
  move(id, 'cancelled', 'cancelled by ' .. actor, actor)
  settle(id)
elseif not terminal(state) and not get(id, 'wish') then
  set(id, 'wish', actor)
  event(id, 'cancel', cjson.encode({actor = actor}))
end
return {'ok'}
