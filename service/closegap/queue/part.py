"""What the parts of the queue have in common: one namespace of one store, its scripts and its records."""

from __future__ import annotations

import redis

from closegap.queue.records import Records
from closegap.queue.scripts import Scripts


class Part:
    """Base. All methods raise StoreUnavailable when the store is away longer than the client's patience."""

    def __init__(self, client: redis.Redis, namespace: str) -> None:
        self._client = client
        self._root = f"{{{namespace}}}"
        self._run = Scripts(client, self._root)
        self._records = Records(client, self._root, self._run)


def milliseconds(seconds: float) -> int:
    """As scripts take times."""
    return round(seconds * 1000)
