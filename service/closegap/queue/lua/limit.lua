-- What a project may hold at most.
-- KEYS[1] root
-- ARGV[1] project  ARGV[2] running jobs or ""  ARGV[3] GPUs or ""
-- -> {ok}
local limits = key('limits', ARGV[1])
redis.call('SADD', key('projects'), ARGV[1])
redis.call('DEL', limits)
if ARGV[2] ~= '' then redis.call('HSET', limits, 'running', ARGV[2]) end
if ARGV[3] ~= '' then redis.call('HSET', limits, 'gpus', ARGV[3]) end
ring('')
return {'ok'}
