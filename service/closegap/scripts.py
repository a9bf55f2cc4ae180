"""The Lua scripts as functions: loaded once, called by digest, their refusals raised."""

from __future__ import annotations

import json
from importlib import resources
from typing import Any, final

import redis
from redis.commands.core import Script

from closegap.errors import Changed, Conflict, KeyReused, LeaseLost, NotFound, ServiceError
from closegap.job import AGEING_SECONDS, TRANSITIONS
from closegap.store import speaking
from closegap.tallies import BUCKETS, CLASSES

NAMES = (
    "submit", "claim", "start", "renew", "report", "finish", "fail", "reap",
    "cancel", "pause", "resume", "change", "find", "select", "read", "place",
    "heartbeat", "preempt", "drain", "undrain", "limit", "forget",
    "draw", "sit",
)  # fmt: skip
SHARED = ("record", "lines", "ownership")


class IdTaken(ServiceError):
    """A fresh id is in use already; the caller draws another."""


_RAISED: dict[str, type[ServiceError]] = {
    "conflict": Conflict,
    "changed": Changed,
    "reused": KeyReused,
    "missing": NotFound,
    "lost": LeaseLost,
    "taken": IdTaken,
}


@final
class Scripts:
    """Every script of `closegap/lua`, bound to one store and one namespace."""

    def __init__(self, client: redis.Redis, root: str) -> None:
        self._root = root
        self._client = client
        self._scripts: dict[str, Script] = {name: client.register_script(_source(name)) for name in NAMES}

    def __call__(self, name: str, *arguments: str | float) -> list[str]:
        """Run one; what follows `ok` in its answer. Raises NotFound, Conflict, LeaseLost, StoreUnavailable."""
        with speaking(self._client):
            answer: Any = self._scripts[name](keys=[self._root], args=list(arguments))
        status, *rest = answer
        if status != "ok":
            raise _RAISED[status](*rest)
        return [str(item) for item in rest]


def _source(name: str) -> str:
    folder = resources.files("closegap").joinpath("lua")
    table = json.dumps({state: list(targets) for state, targets in TRANSITIONS.items()})
    parts = [folder.joinpath(f"{part}.lua").read_text(encoding="utf-8") for part in (*SHARED, name)]
    head = [
        f"local TRANSITIONS = cjson.decode([==[{table}]==])",
        f"local AGEING = {AGEING_SECONDS * 1e6:.0f}",
        f"local BUCKETS = cjson.decode([==[{_milliseconds()}]==])",
        f"local PRIORITY_CLASSES = cjson.decode([==[{json.dumps(CLASSES)}]==])",
    ]
    return "\n".join([*head, *parts])


def _milliseconds() -> str:
    return json.dumps({name: [1000 * bound for bound in bounds] for name, bounds in BUCKETS.items()})
