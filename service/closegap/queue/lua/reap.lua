-- Take back what dead workers hold, as every claim does.
-- KEYS[1] root
-- -> {ok, id, ...}
return {'ok', unpack(reap())}
