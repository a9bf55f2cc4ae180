-- A worker says that it lives and what it can hold in all.
-- KEYS[1] root
-- ARGV[1] worker  ARGV[2] capacity (JSON)
-- -> {ok, who drained it or ""}
redis.call('HSET', key('workers'), ARGV[1], cjson.encode({capacity = ARGV[2], seen = NOW}))
return {'ok', redis.call('HGET', key('drained'), ARGV[1]) or ''}
