-- Keep the lease.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] attempt  ARGV[3] token  ARGV[4] lease (ms)
-- -> {ok, what its owner is asked to do (JSON) or ""} | lost | missing
local stranger = refuse_stranger(ARGV[1], ARGV[2], ARGV[3])
if stranger then return stranger end
local ends = whole(NOW + ARGV[4])
redis.call('ZADD', key('leases'), ends, ARGV[1])
set(ARGV[1], 'lease_until', ends)
return {'ok', get(ARGV[1], 'wish') or ''}
