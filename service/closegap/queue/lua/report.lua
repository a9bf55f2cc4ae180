-- Add an attempt's events to the job's stream; the last progress also goes to the record.
-- KEYS[1] root
-- ARGV[1] id  ARGV[2] attempt  ARGV[3] token  ARGV[4] word for this batch, so that one sent again is kept once
-- ARGV[5] entries that the stream may have  ARGV[6] last progress (JSON) or ""
-- ARGV[7...] type, data (JSON) of each event
-- -> {ok} | lost | missing
local id = ARGV[1]
local stranger = refuse_stranger(id, ARGV[2], ARGV[3])
if stranger then return stranger end
if get(id, 'batch') == ARGV[4] then return {'ok'} end
set(id, 'batch', ARGV[4])
for index = 7, #ARGV, 2 do
  redis.call('XADD', key('events', id), '*', 'type', ARGV[index], 'time', whole(NOW), 'data', ARGV[index + 1])
  if ARGV[index] == 'parity' and cjson.decode(ARGV[index + 1]).passed == false then count(1, 'parity_failures') end
end
local kind = get(id, 'kind')
if ARGV[6] ~= '' then
  local facts = redis.call('HMGET', key('job', id), 'claimed', 'progress', 'encoded')
  if not facts[2] then observe(NOW - facts[1], 'first_step', kind) end
  -- Rows that an earlier attempt has encoded are not encoded again, and not counted again.
  local done = kind == 'encode' and tonumber(cjson.decode(ARGV[6]).done) or 0
  if done > tonumber(facts[3] or 0) then
    count(whole(done - tonumber(facts[3] or 0)), 'encode_rows')
    set(id, 'encoded', whole(done))
  end
  set(id, 'progress', ARGV[6], 'progress_at', whole(NOW))
end

-- Only the talk is bounded. States and epochs are few, and they are the job's history: a plain MAXLEN would drop them.
-- `swept` is where the last sweep ended, so that each entry is looked at once.
local keep = {state = true, ['end'] = true, wish = true, change = true, epoch = true, metric = true}
local excess = redis.call('XLEN', key('events', id)) - ARGV[5]
if excess > 0 then
  local from = get(id, 'swept')
  local entries = redis.call('XRANGE', key('events', id), from and '(' .. from or '-', '+', 'COUNT', excess + 64)
  for _, entry in ipairs(entries) do
    if excess <= 0 then break end
    if not keep[entry[2][2]] then
      redis.call('XDEL', key('events', id), entry[1])
      excess = excess - 1
    end
    set(id, 'swept', entry[1])
  end
end
return {'ok'}
