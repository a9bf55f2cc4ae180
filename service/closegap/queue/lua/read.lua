-- Records, each as one JSON list of fields and values: a client reads one long text faster than many short ones.
-- KEYS[1] root
-- ARGV ids
-- -> {ok, JSON, ...}; of what is not there the list is empty
local answer = {'ok'}
for place, id in ipairs(ARGV) do answer[place + 1] = cjson.encode(redis.call('HGETALL', key('job', id))) end
return answer
