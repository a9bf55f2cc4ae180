"""The Lua scripts as functions: loaded once, called by digest, their refusals raised."""

from __future__ import annotations

import hashlib
import json
from importlib import resources
from typing import Any, final

import redis
from redis.exceptions import NoScriptError

from closegap.errors import Changed, Conflict, KeyReused, LeaseLost, NotFound, ServiceError
from closegap.job import AGEING_SECONDS, TRANSITIONS
from closegap.queue.tallies import BUCKETS, CLASSES
from closegap.store.store import speaking

NAMES = (
    "submit", "claim", "start", "renew", "report", "finish", "fail", "reap",
    "cancel", "pause", "resume", "change", "find", "select", "read", "reported", "place",
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
    """Every script of `closegap/queue/lua`, bound to one store and one namespace."""

    def __init__(self, client: redis.Redis, root: str) -> None:
        self._root = root
        self._client = client
        sources = {name: _source(name) for name in NAMES}
        self._scripts = {
            name: (hashlib.sha1(text.encode()).hexdigest(), text) for name, text in sources.items()
        }

    def __call__(self, name: str, *arguments: str | float) -> list[str]:
        """Run one; what follows `ok` in its answer. Raises NotFound, Conflict, LeaseLost, StoreUnavailable."""
        digest, source = self._scripts[name]
        answer: Any
        with speaking(self._client):
            try:
                answer = self._client.evalsha(digest, 1, self._root, *arguments)
            except NoScriptError:
                # A store that was started anew. One command that loads and runs: it may be started anew once more.
                answer = self._client.eval(source, 1, self._root, *arguments)
        status, *rest = answer
        if status != "ok":
            raise _RAISED[status](*rest)
        return [str(item) for item in rest]


def _source(name: str) -> str:
    folder = resources.files("closegap.queue").joinpath("lua")
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
