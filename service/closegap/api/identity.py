"""Who asks, and whether they may: every route declares a role by `Viewer`, `Submitter` or `Admin`, once.

What a caller may not see does not exist for them: reads are told the caller's projects and answer 404.
"""

from __future__ import annotations

import hashlib
import ipaddress
import time
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, final

from fastapi import Depends, Request
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer

from closegap.access.token import Role, Token
from closegap.api.context import Context, Ctx
from closegap.api.problem import Answer
from closegap.errors import NotFound, StoreUnavailable
from closegap.specs import references

_BEARER = HTTPBearer(
    auto_error=False, description="`Authorization: Bearer cg_…`; `closegap token create` makes one."
)
COOKIE, PAGE_HEADER = "closegap_session", "X-Closegap-Page"
_ACQUAINTED_SECONDS = 600.0
_LOOPBACK_NAMES = frozenset({"localhost", "127.0.0.1", "[::1]", "::1"})


@final
@dataclass(frozen=True)
class Caller:
    """Who asks."""

    token: str
    """Id of the token; empty where the service runs without authentication."""
    name: str
    role: Role
    projects: frozenset[str] | None
    """None: all."""
    expires: datetime | None
    address: str
    request_id: str
    traceparent: str = ""
    """Of the caller's own span, where it has told one."""

    @property
    def key(self) -> str:
        """By what limits count."""
        return self.token or self.address

    @property
    def actor(self) -> str:
        """For the history of a job."""
        return f"{self.name} (token {self.token})" if self.token else self.name

    def sees(self, project: str) -> bool:
        """Whether a project exists for this caller."""
        return self.projects is None or project in self.projects

    def see(self, project: str) -> str:
        """The project. Raises NotFound where it does not exist for this caller."""
        if not self.sees(project):
            raise NotFound(f"there is no project `{project}`")
        return project

    def chosen(self, project: str | None) -> str:
        """The project that is written to: the one asked for, or the only one there is for this caller."""
        if project is not None:
            return self.see(project)
        if self.projects is None or references.DEFAULT_PROJECT in self.projects:
            return references.DEFAULT_PROJECT
        if len(self.projects) == 1:
            return next(iter(self.projects))
        known = ", ".join(sorted(self.projects))
        raise Answer(422, "project_needed", f"say which project, by `?project=`: one of {known}")


@final
class Ask:
    """The dependency that every route but the public ones has: a token, of at least this role."""

    def __init__(self, role: Role, everywhere: bool = False, outages: bool = False) -> None:
        """`everywhere`: only for tokens of all projects, because the answer is about all of them.
        `outages`: while the store is away, also for a token that this process has let in not long ago."""
        self.role, self.everywhere, self._outages = role, everywhere, outages

    def __call__(
        self,
        request: Request,
        context: Ctx,
        credentials: Annotated[HTTPAuthorizationCredentials | None, Depends(_BEARER)],
    ) -> Caller:
        """Raises Answer 401, 403, 429."""
        secret = credentials.credentials if credentials else None
        try:
            caller = _caller(request, context, secret)
        except StoreUnavailable:
            if not self._outages or secret is None:
                raise
            return _acquainted(request, context, secret)
        context.limits.rate.take(caller.key)
        if not caller.role.covers(self.role):
            raise Answer(403, "forbidden", f"this needs the role {self.role}; the token's is {caller.role}")
        if self.everywhere and caller.projects is not None:
            raise Answer(403, "forbidden", "this needs a token for all projects")
        if self._outages and secret is not None:
            _make_acquainted(context, secret)
        return caller


Viewer = Annotated[Caller, Depends(Ask(Role.VIEWER))]
Submitter = Annotated[Caller, Depends(Ask(Role.SUBMITTER))]
Admin = Annotated[Caller, Depends(Ask(Role.ADMIN))]
GlobalViewer = Annotated[Caller, Depends(Ask(Role.VIEWER, everywhere=True))]
Scraper = Annotated[Caller, Depends(Ask(Role.VIEWER, everywhere=True, outages=True))]
GlobalAdmin = Annotated[Caller, Depends(Ask(Role.ADMIN, everywhere=True))]


def _caller(request: Request, context: Context, presented: str | None) -> Caller:
    address = request.client.host if request.client else ""
    request_id = request.scope.get("closegap.request_id", "")
    traceparent = request.headers.get("traceparent", "")
    if not context.auth:
        _refuse_other_sites(request, context.settings.api_host)
        return Caller("", "anyone", Role.ADMIN, None, None, address, request_id, traceparent)
    cookie = None if presented else request.cookies.get(COOKIE)
    token = context.tokens.find(presented) if presented else _of_session(request, context, cookie)
    if token is None:
        context.limits.failures.take(address)
        given = presented or cookie
        said = "the token is none, was revoked, or is over" if given else "there is no token"
        detail = f"{said}; accepted: `Authorization: Bearer cg_…`"
        raise Answer(401, "unauthorized", detail, {"WWW-Authenticate": 'Bearer realm="closegap"'})
    return Caller(
        token.id, token.name, token.role, token.projects, token.expires, address, request_id, traceparent
    )


def _make_acquainted(context: Context, secret: str) -> None:
    now = time.monotonic()
    for digest in [digest for digest, until in context.scrapers.items() if until < now]:
        context.scrapers.pop(digest, None)
    context.scrapers[hashlib.sha256(secret.encode()).hexdigest()] = now + _ACQUAINTED_SECONDS


def _acquainted(request: Request, context: Context, secret: str) -> Caller:
    """Raises StoreUnavailable where the token was not let in lately."""
    digest = hashlib.sha256(secret.encode()).hexdigest()
    if context.scrapers.get(digest, 0.0) < time.monotonic():
        raise StoreUnavailable("the store that knows the tokens cannot be reached")
    address = request.client.host if request.client else ""
    request_id = request.scope.get("closegap.request_id", "")
    return Caller("", "acquaintance", Role.VIEWER, None, None, address, request_id)


def _of_session(request: Request, context: Context, cookie: str | None) -> Token | None:
    """The token that the page's cookie stands for.

    A cookie is sent by the browser, whoever asked it to: what changes something must carry a header that no page of
    another site can add, and come from this one. Raises Answer 403.
    """
    identifier = context.sessions.token(cookie) if cookie else None
    if identifier is None:
        return None
    refuse_foreign(request)
    return context.tokens.get(identifier) if context.tokens.usable(identifier) else None


def refuse_foreign(request: Request) -> None:
    """Raise Answer 403 for a request that does not come from the service's own page."""
    changes = request.method not in ("GET", "HEAD")
    if _foreign(request) or (changes and request.headers.get(PAGE_HEADER) != "1"):
        raise Answer(
            403, "forbidden", f"a session's request needs `{PAGE_HEADER}: 1`, and this service's own page"
        )


def _foreign(request: Request) -> bool:
    """Whether a browser says that a page of another site has made it ask."""
    origin = request.headers.get("origin")
    other = origin is not None and origin.partition("://")[2] != request.headers.get("host", "")
    return other or request.headers.get("sec-fetch-site") in ("cross-site", "same-site")


def _refuse_other_sites(request: Request, host: str) -> None:
    """Without tokens a page of another site could use the browser of whoever runs the service; also by a name of its
    own that it lets stand for 127.0.0.1. Raises Answer 403."""
    named = request.headers.get("host", "")
    name = named.rsplit(":", 1)[0] if not named.endswith("]") else named
    rebound = loopback(host) and name.lower() not in _LOOPBACK_NAMES
    if rebound or _foreign(request):
        raise Answer(403, "forbidden", "without authentication, pages of other sites are refused")


def loopback(host: str) -> bool:
    """Whether an address can only be reached from this machine."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
