-- What a job has reported, as one JSON list of type and data in turn: a client reads one long text faster than many
-- short ones.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] id of the event after which  ARGV[3] events that are looked at  ARGV[4...] types to leave out
-- -> {ok, id of the last event that was looked at or "", JSON}
local without = {}
for index = 4, #ARGV do without[ARGV[index]] = true end
local entries = redis.call('XRANGE', key('events', ARGV[1]), '(' .. ARGV[2], '+', 'COUNT', ARGV[3])
local told, last = {}, ''
for _, entry in ipairs(entries) do
  last = entry[1]
  local fields = {}
  for index = 1, #entry[2], 2 do fields[entry[2][index]] = entry[2][index + 1] end
  if not without[fields.type] then
    told[#told + 1] = cjson.encode(fields.type)
    told[#told + 1] = fields.data
  end
end
return {'ok', last, '[' .. table.concat(told, ',') .. ']'}
