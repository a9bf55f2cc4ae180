"""Sessions of the page: a random secret in a cookie stands for a token, for some hours; the store has its digest."""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import final

import redis

from closegap.store import speaking

KEPT = timedelta(hours=12)
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@final
class Sessions:
    """Of one namespace. Safe to share between threads. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"

    def begin(self, token: str) -> str:
        """A fresh session for the id of a token; its secret."""
        secret = secrets.token_urlsafe(32)
        with speaking(self._client):
            self._client.set(self._key(secret), token, ex=KEPT)
        return secret

    def token(self, secret: str) -> str | None:
        """The id of the token that a session stands for; None for none, and for one that is over."""
        if not _SECRET.fullmatch(secret):
            return None
        with speaking(self._client):
            found = self._client.get(self._key(secret))
        return None if found is None else str(found)

    def end(self, secret: str) -> None:
        """Forget a session."""
        with speaking(self._client):
            self._client.delete(self._key(secret))

    def _key(self, secret: str) -> str:
        return f"{self._root}:session:{hashlib.sha256(secret.encode()).hexdigest()}"
