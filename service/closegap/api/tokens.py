"""Access tokens: made, listed, revoked by admins, each within the projects of their own token."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, final

from fastapi import APIRouter, Path
from pydantic import BaseModel, ConfigDict, Field

from closegap.access.token import Role, Token
from closegap.access.tokens import LONGEST_NAME
from closegap.api.context import Ctx
from closegap.api.documents import answers
from closegap.api.identity import Admin, Caller
from closegap.api.problem import Answer
from closegap.errors import NotFound
from closegap.specs.references import PROJECT

TokenId = Annotated[str, Path(alias="token", pattern="^[0-9a-f]{12}$", examples=["5c1e0a7b93d2"])]
router = APIRouter(tags=["tokens"])


@final
class NewToken(BaseModel):
    """What a token shall be."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={"examples": [{"name": "alice", "role": "submitter", "projects": ["vision"]}]},
    )
    name: Annotated[str, Field(min_length=1, max_length=LONGEST_NAME)]
    role: Role
    projects: list[Annotated[str, Field(pattern=f"^{PROJECT}$")]] | None = Field(
        None, min_length=1, max_length=1000, description="null is all of them."
    )
    expires_seconds: Annotated[int, Field(ge=60, le=3_153_600_000, strict=True)] | None = Field(
        2_592_000, description="From now; null is never."
    )


@final
class Shown(BaseModel):
    """A fresh token. The secret is shown this once."""

    token: Token
    secret: str


@final
class TokenList(BaseModel):
    """Oldest first, revoked ones too."""

    tokens: list[Token]


_TOKEN = {
    "id": "5c1e0a7b93d2",
    "name": "alice",
    "role": "submitter",
    "projects": ["vision"],
    "created": "2026-11-21T14:03:05Z",
    "created_by": "local (token 0a1b2c3d4e5f)",
    "expires": "2026-12-21T14:03:05Z",
    "revoked": None,
    "used": None,
}


@router.get("/v1/tokens", responses=answers(example={"tokens": [_TOKEN]}))
def tokens(context: Ctx, caller: Admin) -> TokenList:
    """Those for no other projects than the asking token's."""
    return TokenList(tokens=[token for token in context.tokens.list() if _within(caller, token.projects)])


@router.post(
    "/v1/tokens",
    status_code=201,
    responses=answers(404, example={"token": _TOKEN, "secret": "cg_5c1e0a7b93d2_…"}, status=201),
)
def create(asked: NewToken, context: Ctx, caller: Admin) -> Shown:
    """Make a token, of no other projects than the one that asks. It does not end with that one: revoke it, too."""
    projects = None if asked.projects is None else frozenset(asked.projects)
    for project in sorted(projects or ()):
        caller.see(project)
    if not _within(caller, projects):
        raise Answer(403, "forbidden", "a token for all projects needs one")
    expires = None if asked.expires_seconds is None else timedelta(seconds=asked.expires_seconds)
    made = context.tokens.create(asked.name, asked.role, projects, expires, caller.actor)
    context.audit.record(
        caller.actor,
        "token.create",
        ",".join(sorted(projects or ())),
        made.token.id,
        caller.token,
        caller.request_id,
    )
    return Shown(token=made.token, secret=made.secret)


@router.delete(
    "/v1/tokens/{token}", responses=answers(404, example=_TOKEN | {"revoked": "2026-11-21T15:00:00Z"})
)
def revoke(identifier: TokenId, context: Ctx, caller: Admin) -> Token:
    """End a token at once; its open streams end, too."""
    if not _within(caller, context.tokens.get(identifier).projects):
        raise NotFound(f"there is no token `{identifier}`")
    found = context.tokens.revoke(identifier)
    context.audit.record(caller.actor, "token.revoke", "", identifier, caller.token, caller.request_id)
    return found


def _within(caller: Caller, projects: frozenset[str] | None) -> bool:
    return caller.projects is None or (projects is not None and projects <= caller.projects)
