-- The job that an id, a name (the newest) or the beginning of an id stands for, among those that may be seen.
-- KEYS[1] root
-- ARGV[1] what was given  ARGV[2] JSON list of projects, "" for all
-- -> {ok, id, ...}: none where there is no such job, up to six where several begin so
local given = ARGV[1]
local projects = ARGV[2] == '' and redis.call('SMEMBERS', key('projects')) or cjson.decode(ARGV[2])
local own, named, newest, begun = given ~= '' and get(given, 'project'), nil, -1, {}
for _, project in ipairs(projects) do
  if own == project then return {'ok', given} end
  local last = redis.call('ZREVRANGE', key('in', 'name', project, given), 0, 0, 'WITHSCORES')
  if last[1] and tonumber(last[2]) > newest then named, newest = last[1], tonumber(last[2]) end
  if given ~= '' then
    local ids = redis.call('ZRANGEBYLEX', key('ids', project), '[' .. given, '[' .. given .. '\255', 'LIMIT', 0, 6)
    for _, one in ipairs(ids) do
      if #begun < 6 then table.insert(begun, one) end
    end
  end
end
if named then return {'ok', named} end
return {'ok', unpack(begun)}
