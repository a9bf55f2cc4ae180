-- Cancel jobs that wait, at once; wish that those that run be cancelled. A job that is over stays as it is.
-- KEYS[1] root
-- ARGV[1] actor  ARGV[2...] ids
-- -> {ok} | missing
local actor = ARGV[1]
for index = 2, #ARGV do
  if not get(ARGV[index], 'state') then return {'missing', 'there is no job ' .. ARGV[index]} end
end
for index = 2, #ARGV do
  local id = ARGV[index]
  local state = get(id, 'state')
  if state == 'claimed' or state == 'running' then
    wish(id, 'cancelled', actor, 'cancelled by ' .. actor)
  elseif not terminal(state) then
    leave(id)
    move(id, 'cancelled', 'cancelled by ' .. actor, actor)
    settle(id)
  end
end
return {'ok'}
