-- How many jobs are before each of these in all lines together, itself included.
-- KEYS[1] root
-- ARGV ids
-- -> {ok, place or "" (not in a line), ...}
local answer = {'ok'}
local lines = redis.call('ZRANGE', key('lines'), 0, -1)
for _, id in ipairs(ARGV) do
  local line = get(id, 'line')
  local score = line and redis.call('ZSCORE', key('line', line), id)
  local place = 1
  if score then
    for _, other in ipairs(lines) do
      place = place + redis.call('ZCOUNT', key('line', other), '-inf', '(' .. score)
    end
  end
  table.insert(answer, score and whole(place) or '')
end
return answer
