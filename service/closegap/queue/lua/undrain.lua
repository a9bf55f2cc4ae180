-- Let a drained worker claim again.
-- KEYS[1] root
-- ARGV[1] worker
-- -> {ok} | missing
if redis.call('HEXISTS', key('workers'), ARGV[1]) == 0 then return {'missing', 'there is no worker ' .. ARGV[1]} end
if redis.call('HDEL', key('drained'), ARGV[1]) == 1 then ring('') end
return {'ok'}
