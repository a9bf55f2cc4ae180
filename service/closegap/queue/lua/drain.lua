-- Let a worker claim nothing more, and give back what it holds if `now`.
-- KEYS[1] root
-- ARGV[1] worker  ARGV[2] actor  ARGV[3] "now" or ""
-- -> {ok} | missing
local worker, actor = ARGV[1], ARGV[2]
if redis.call('HEXISTS', key('workers'), worker) == 0 then return {'missing', 'there is no worker ' .. worker} end
redis.call('HSET', key('drained'), worker, actor)
if ARGV[3] == 'now' then
  for _, id in ipairs(redis.call('ZRANGE', key('leases'), 0, -1)) do
    if get(id, 'owner') == worker then
      wish(id, 'queued', actor, 'worker ' .. worker .. ' was drained by ' .. actor)
    end
  end
end
return {'ok'}
