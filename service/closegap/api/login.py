"""Sessions of the page: a token is given once, a cookie that no script can read stands for it from then on."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from closegap.api.context import Ctx
from closegap.api.documents import answers
from closegap.api.identity import COOKIE, Viewer, loopback
from closegap.session import KEPT

router = APIRouter(tags=["session"])


@router.post("/v1/session", status_code=204, responses=answers(status=204, description="With `Set-Cookie`."))
def begin(request: Request, context: Ctx, caller: Viewer) -> Response:
    """Begin a session for the token of this request. Its requests that change something send `X-Closegap-Page: 1`."""
    response = Response(status_code=204)
    if caller.token:
        response.set_cookie(
            COOKIE,
            context.sessions.begin(caller.token),
            max_age=int(KEPT.total_seconds()),
            path="/",
            secure=request.url.scheme == "https" or not loopback(context.settings.api_host),
            httponly=True,
            samesite="strict",
        )
    return response


@router.delete("/v1/session", status_code=204, responses=answers(status=204))
def end(request: Request, context: Ctx, caller: Viewer) -> Response:
    """End the session of this request."""
    context.sessions.end(request.cookies.get(COOKIE, ""))
    response = Response(status_code=204)
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")
    return response
