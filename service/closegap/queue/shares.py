"""What all processes of the API count together, in the store: tokens that come with time, and seats that are taken."""

from __future__ import annotations

from typing import NamedTuple, final

import redis

from closegap.queue.scripts import Scripts
from closegap.store.store import speaking

SEAT_SECONDS = 60.0
"""A seat of which nothing is heard for so long is free again: its process may have been killed."""


class Draw(NamedTuple):
    """Tokens that were given, and seconds until there is one where there was none."""

    tokens: int
    seconds: float


@final
class Shares:
    """Of one namespace. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"
        self._run = Scripts(client, self._root)

    def draw(self, bucket: str, rate: float, most: float, wanted: int) -> Draw:
        """Up to `wanted` tokens of a bucket that holds `most` and gets `rate` more a second."""
        tokens, milliseconds = self._run("draw", bucket, rate, most, wanted)
        return Draw(int(tokens), int(milliseconds) / 1000)

    def sit(self, room: str, who: str, seats: int) -> bool:
        """Take one of a room's seats, or keep it: to be said again well within `SEAT_SECONDS`."""
        [taken] = self._run("sit", room, who, seats, round(1000 * SEAT_SECONDS))
        return taken == "1"

    def leave(self, room: str, who: str) -> None:
        """Give a seat back."""
        with speaking(self._client):
            self._client.zrem(f"{self._root}:seats:{room}", who)
