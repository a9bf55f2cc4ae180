"""Sessions of the page: a token is given once, a cookie that no script can read stands for it from then on.

A code is a link's way in: `/login#<code>`, where what follows the `#` reaches no server's log. It is good once, and
for some minutes.
"""

from __future__ import annotations

from typing import Annotated, final

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from closegap.access.session import CODE_KEPT, KEPT
from closegap.api.context import Context, Ctx
from closegap.api.documents import answers
from closegap.api.identity import COOKIE, Viewer, loopback, refuse_foreign
from closegap.api.problem import Answer

REDEEM = "/v1/session:redeem"
router = APIRouter(tags=["session"])


@final
class Code(BaseModel):
    """A way into the page, good once."""

    code: str = Field(description="For `/login#<code>` of the page.")
    seconds: int = Field(description="For which it is good.")


@final
class Redeemed(BaseModel):
    """A code that is presented."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"code": "x" * 43}]})
    code: Annotated[str, Field(max_length=100)]


@router.post("/v1/session", status_code=204, responses=answers(status=204, description="With `Set-Cookie`."))
def begin(request: Request, context: Ctx, caller: Viewer) -> Response:
    """Begin a session for the token of this request. Its requests that change something send `X-Closegap-Page: 1`."""
    if not caller.token:
        return Response(status_code=204)
    _refuse_session(request)
    return _begun(request, context, caller.token)


@router.post(
    "/v1/session:offer",
    status_code=201,
    responses=answers(
        409, example={"code": "x" * 43, "seconds": 300}, status=201, description="Good once, and soon."
    ),
)
def offer(request: Request, context: Ctx, caller: Viewer) -> Code:
    """A code by which a browser is signed in as the token of this request."""
    if not caller.token:
        raise Answer(409, "conflict", "the service runs without authentication: the page needs no code")
    _refuse_session(request)
    return Code(code=context.sessions.offer(caller.token), seconds=int(CODE_KEPT.total_seconds()))


@router.post(
    REDEEM, status_code=204, responses=answers(400, 413, status=204, description="With `Set-Cookie`.")
)
def redeem(given: Redeemed, request: Request, context: Ctx) -> Response:
    """Begin a session for a code. Needs no token; only the service's own page can ask."""
    refuse_foreign(request)
    token = context.sessions.redeem(given.code)
    if token is None or not context.tokens.usable(token):
        context.limits.failures.take(request.client.host if request.client else "")
        detail = "the link was used already, or is older than five minutes; `closegap page` makes another"
        raise Answer(401, "unauthorized", detail, {"WWW-Authenticate": 'Bearer realm="closegap"'})
    return _begun(request, context, token)


@router.delete("/v1/session", status_code=204, responses=answers(status=204))
def end(request: Request, context: Ctx, caller: Viewer) -> Response:
    """End the session of this request."""
    context.sessions.end(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response


def _refuse_session(request: Request) -> None:
    """A session must not make itself last: whoever has stolen its cookie would have it for ever. Raises Answer 403."""
    if "authorization" not in request.headers:
        raise Answer(403, "forbidden", "this is asked with the token itself, not from a session of the page")


def _begun(request: Request, context: Context, token: str) -> Response:
    response = Response(status_code=204)
    response.set_cookie(
        COOKIE,
        context.sessions.begin(token),
        max_age=int(KEPT.total_seconds()),
        path="/",
        secure=request.url.scheme == "https" or not loopback(context.settings.api_host),
        httponly=True,
        samesite="strict",
    )
    return response
