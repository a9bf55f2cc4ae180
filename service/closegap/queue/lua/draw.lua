-- Take tokens from a bucket that fills with time. What holds none is as good as full after a while, and goes by itself.
-- KEYS[1] root
-- ARGV[1] bucket  ARGV[2] tokens a second that it is filled with  ARGV[3] tokens that it holds at most
-- ARGV[4] tokens that are wanted; fewer are given where there are fewer
-- -> {ok, tokens given, ms until there is one}
local bucket = key('bucket', ARGV[1])
local rate, most = ARGV[2] / 1000, tonumber(ARGV[3])
local found = redis.call('HMGET', bucket, 'left', 'seen')
local since = math.max(0, NOW - (tonumber(found[2]) or NOW))
local left = math.min(most, (tonumber(found[1]) or most) + since * rate)
local given = math.min(math.floor(left), tonumber(ARGV[4]))
if given < 1 then return {'ok', '0', whole(math.ceil((1 - left) / rate))} end
redis.call('HSET', bucket, 'left', tostring(left - given), 'seen', whole(NOW))
redis.call('PEXPIRE', bucket, whole(math.ceil((most - left + given) / rate) + 1000))
return {'ok', whole(given), '0'}
