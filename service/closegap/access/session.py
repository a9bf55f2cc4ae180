"""Sessions of the page: a random secret in a cookie stands for a token, for some hours; the store has its digest.

A code begins one: whoever holds the token asks for it, and who presents it, once and soon, is signed in as that token.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from datetime import timedelta
from typing import final

import redis

from closegap.store.store import speaking

KEPT = timedelta(hours=12)
CODE_KEPT = timedelta(minutes=5)
_SECRET = re.compile(r"[A-Za-z0-9_-]{43}")


@final
class Sessions:
    """Of one namespace. Safe to share between threads. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"

    def begin(self, token: str) -> str:
        """A fresh session for the id of a token; its secret."""
        return self._keep("session", token, KEPT)

    def token(self, secret: str) -> str | None:
        """The id of the token that a session stands for; None for none, and for one that is over."""
        if not _SECRET.fullmatch(secret):
            return None
        with speaking(self._client):
            found = self._client.get(self._key("session", secret))
        return None if found is None else str(found)

    def end(self, secret: str) -> None:
        """Forget a session."""
        with speaking(self._client):
            self._client.delete(self._key("session", secret))

    def offer(self, token: str) -> str:
        """A fresh code for the id of a token."""
        return self._keep("code", token, CODE_KEPT)

    def redeem(self, code: str) -> str | None:
        """The id of the token that a code stands for, the first time; None for none, one used, and one that is over."""
        if not _SECRET.fullmatch(code):
            return None
        with speaking(self._client):
            found = self._client.getdel(self._key("code", code))
        return None if found is None else str(found)

    def _keep(self, what: str, token: str, kept: timedelta) -> str:
        secret = secrets.token_urlsafe(32)
        with speaking(self._client):
            self._client.set(self._key(what, secret), token, ex=kept)
        return secret

    def _key(self, what: str, secret: str) -> str:
        return f"{self._root}:{what}:{hashlib.sha256(secret.encode()).hexdigest()}"
