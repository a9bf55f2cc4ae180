-- Take a seat in a room of so many, or keep the one that is taken; who says nothing for a while has left.
-- KEYS[1] root
-- ARGV[1] room  ARGV[2] who  ARGV[3] seats  ARGV[4] milliseconds for which the seat is theirs
-- -> {ok, 1, or 0 when there is none}
local room = key('seats', ARGV[1])
redis.call('ZREMRANGEBYSCORE', room, '-inf', NOW)
if not redis.call('ZSCORE', room, ARGV[2]) and redis.call('ZCARD', room) >= tonumber(ARGV[3]) then
  return {'ok', '0'}
end
redis.call('ZADD', room, whole(NOW + ARGV[4]), ARGV[2])
redis.call('PEXPIRE', room, ARGV[4])
return {'ok', '1'}
