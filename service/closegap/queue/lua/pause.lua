-- Pause a job that waits, at once; wish that one that runs be paused at its next checkpoint.
-- KEYS[1] root
-- ARGV[1] actor  ARGV[2] id
-- -> {ok} | missing | conflict
local actor, id = ARGV[1], ARGV[2]
local state = get(id, 'state')
if not state then return {'missing', 'there is no job ' .. id} end
if terminal(state) then return {'conflict', 'job ' .. id .. ' is over (' .. state .. '); only one that is not can be paused'} end
if state == 'blocked' or state == 'queued' then
  leave(id)
  move(id, 'paused', 'paused by ' .. actor, actor)
elseif state ~= 'paused' then
  wish(id, 'paused', actor, 'paused by ' .. actor)
end
return {'ok'}
