"""Access tokens: random secrets of which the store keeps a digest, each with a role, projects and an end.

A token reads `cg_<12 hex digits>_<43 base64url characters>`: its id, and 256 random bits. So much chance needs no slow
hash; the digest only keeps whoever reads the store from using it.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, final

import redis

from closegap.access.token import Created, Role, Token
from closegap.errors import NotFound, TokenError
from closegap.specs import references
from closegap.store.store import speaking

PREFIX = "cg_"
_PRESENTED = re.compile(r"cg_([0-9a-f]{12})_([A-Za-z0-9_-]{43})")
_ID = re.compile(r"[0-9a-f]{12}")
LONGEST_NAME = 100
_USED_EVERY = timedelta(minutes=1)
_NOBODY = hashlib.sha256(b"nobody").hexdigest()


@final
class Tokens:
    """The tokens of one namespace. Safe to share between threads. All methods raise StoreUnavailable."""

    def __init__(self, client: redis.Redis, namespace: str = "closegap") -> None:
        self._client = client
        self._root = f"{{{namespace}}}"

    def create(
        self,
        name: str,
        role: Role,
        projects: Iterable[str] | None = None,
        expires: timedelta | None = None,
        created_by: str = "",
    ) -> Created:
        """A token for `projects` (None: all) until `expires` from now (None: for ever). Raises TokenError."""
        chosen = None if projects is None else frozenset(projects)
        _refuse(name, chosen, expires)
        now = self._now()
        identifier, secret = secrets.token_hex(6), secrets.token_urlsafe(32)
        token = Token(
            id=identifier,
            name=name,
            role=role,
            projects=chosen,
            created=now,
            created_by=created_by,
            expires=None if expires is None else now + expires,
        )
        presented = f"{PREFIX}{identifier}_{secret}"
        fields: dict[Any, Any] = {
            "sha256": _digest(presented),
            "token": token.model_dump_json(exclude={"revoked", "used"}),
        }
        with speaking(self._client), self._client.pipeline() as pipe:
            pipe.hset(self._key(identifier), mapping=fields)
            pipe.zadd(f"{self._root}:tokens", {identifier: now.timestamp()})
            pipe.execute()
        return Created(token, presented)

    def find(self, presented: str) -> Token | None:
        """The token whose secret this is; None for none, and for one that was revoked or is over.

        The use is remembered, at most once a minute.
        """
        match = _PRESENTED.fullmatch(presented)
        identifier = match.group(1) if match else "0" * 12
        fields, now = self._read(identifier)
        # Compared also where there is no such token, so that the time taken tells nothing.
        same = hmac.compare_digest(fields.get("sha256", _NOBODY), _digest(presented))
        if not (match and fields and same):
            return None
        token = _token(fields)
        if not token.usable(now):
            return None
        if token.used is None or now - token.used >= _USED_EVERY:
            with speaking(self._client):
                self._client.hset(self._key(identifier), "used", now.isoformat())
        return token

    def list(self) -> list[Token]:
        """Every token, oldest first, revoked ones too."""
        with speaking(self._client):
            ids: Any = self._client.zrange(f"{self._root}:tokens", 0, -1)
            with self._client.pipeline(transaction=False) as pipe:
                for identifier in ids:
                    pipe.hgetall(self._key(identifier))
                found = pipe.execute()
        return [_token(fields) for fields in found if fields]

    def get(self, identifier: str) -> Token:
        """The token of an id. Raises NotFound."""
        fields, _ = self._read(identifier)
        if not _ID.fullmatch(identifier) or not fields:
            raise NotFound(f"there is no token `{identifier}`; see `closegap token list`")
        return _token(fields)

    def usable(self, identifier: str) -> bool:
        """Whether the token of an id still opens anything."""
        fields, now = self._read(identifier)
        return bool(fields) and _token(fields).usable(now)

    def revoke(self, identifier: str) -> Token:
        """End a token now; one that is revoked stays as it is. Raises NotFound."""
        self.get(identifier)
        now = self._now()
        with speaking(self._client):
            self._client.hsetnx(self._key(identifier), "revoked", now.isoformat())
        return self.get(identifier)

    def _key(self, identifier: str) -> str:
        return f"{self._root}:token:{identifier}"

    def _read(self, identifier: str) -> tuple[Mapping[str, str], datetime]:
        with speaking(self._client), self._client.pipeline(transaction=False) as pipe:
            pipe.hgetall(self._key(identifier))
            pipe.time()
            fields, clock = pipe.execute()
        return fields, _moment(clock)

    def _now(self) -> datetime:
        with speaking(self._client):
            return _moment(self._client.time())


def _moment(clock: Any) -> datetime:
    """The store's clock, which is the only one."""
    return datetime.fromtimestamp(clock[0] + clock[1] / 1e6, UTC)


def _digest(presented: str) -> str:
    return hashlib.sha256(presented.encode()).hexdigest()


def _token(fields: Mapping[str, str]) -> Token:
    value = json.loads(fields["token"])
    later = {name: fields[name] for name in ("revoked", "used") if name in fields}
    return Token.model_validate(value | later)


def _refuse(name: str, projects: frozenset[str] | None, expires: timedelta | None) -> None:
    if not (0 < len(name) <= LONGEST_NAME and name.isprintable()):
        raise TokenError(f"`{name[:50]}` names no token; accepted: 1 to {LONGEST_NAME} printable characters")
    if projects is not None and not projects:
        raise TokenError("a token needs a project, or all of them")
    for project in sorted(projects or ()):
        if not re.fullmatch(references.PROJECT, project):
            raise TokenError(f"`{project}` is no name of a project; accepted: {references.PROJECT_WORDS}")
    if expires is not None and not timedelta() < expires <= timedelta(days=36_500):
        raise TokenError(f"a token cannot end {expires} from now; accepted: up to 36500 days")
