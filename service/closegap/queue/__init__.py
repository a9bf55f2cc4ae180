"""The job queue on Redis: one file a part of it; every change is a Lua script of `lua/`."""
