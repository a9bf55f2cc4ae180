-- The attempt is over without success, or gives its job back: the job is queued again, or failed, by its budgets.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] attempt  ARGV[3] token  ARGV[4] class of failure  ARGV[5] reason  ARGV[6] failure (JSON) or ""
-- ARGV[7] first delay (ms)  ARGV[8] largest delay (ms)
-- -> {ok} | lost | missing
local id = ARGV[1]
if get(id, 'closed') == 'fail:' .. ARGV[3] then return {'ok'} end
local stranger = refuse_stranger(id, ARGV[2], ARGV[3])
if stranger then return stranger end
local owner = get(id, 'owner')
local class = ARGV[4]
local given_back = class == 'preempted'
local wished = drop_lease(id, 'fail', ARGV[3], given_back and 'preempted' or 'failed', given_back and '' or class)
if ARGV[6] ~= '' then set(id, 'error', ARGV[6]) end
again_or_over(id, wished, class, ARGV[5], owner, tonumber(ARGV[7]), tonumber(ARGV[8]))
return {'ok'}
