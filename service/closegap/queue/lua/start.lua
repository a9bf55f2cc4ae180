-- The attempt's process runs: claimed -> running.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] attempt  ARGV[3] token  ARGV[4] ms that the claim took, or ""
-- -> {ok, what its owner is asked to do (JSON) or ""} | lost | missing
local stranger = refuse_stranger(ARGV[1], ARGV[2], ARGV[3])
if stranger then return stranger end
-- A second start by the owner is the first one whose answer was lost.
if get(ARGV[1], 'state') == 'claimed' then
  if ARGV[4] ~= '' then observe(tonumber(ARGV[4]), 'claim') end
  set(ARGV[1], 'started', whole(NOW))
  move(ARGV[1], 'running', 'attempt ' .. ARGV[2] .. ' started', get(ARGV[1], 'owner'))
end
return {'ok', get(ARGV[1], 'wish') or ''}
