"""What is known of an access token, and what it may do; light, for the client reads it too."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import NamedTuple, final

from pydantic import Field

from closegap.job import Record


@final
class Role(StrEnum):
    """What a token may do; each role may do what those before it may."""

    VIEWER = "viewer"
    SUBMITTER = "submitter"
    ADMIN = "admin"

    def covers(self, other: Role) -> bool:
        """Whether this role may do what `other` may."""
        order = list(Role)
        return order.index(self) >= order.index(other)


@final
class Token(Record):
    """What is known of a token. Its secret is not."""

    id: str
    name: str
    role: Role
    projects: frozenset[str] | None = Field(description="null is every project, also those to come.")
    created: datetime
    created_by: str = ""
    expires: datetime | None = Field(None, description="null is never.")
    revoked: datetime | None = None
    used: datetime | None = Field(None, description="When it was last used, to the minute.")

    def usable(self, now: datetime) -> bool:
        """Whether it opens anything at this time."""
        return self.revoked is None and (self.expires is None or now < self.expires)


@final
class Created(NamedTuple):
    """A fresh token, and the only copy of its secret."""

    token: Token
    secret: str
