"""Each request has an id, is timed, counted and logged; what nobody expected is a 500 that shows nothing."""

from __future__ import annotations

import re
import secrets
import time
from typing import final

import structlog
from starlette.datastructures import MutableHeaders
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from closegap.api import problem
from closegap.api.limits import largest_body, too_large
from closegap.api.measures import Measures
from closegap.trace import Span

HEADER = "X-Request-Id"
_ACCEPTED = re.compile(r"[A-Za-z0-9._-]{1,64}")
_HEADERS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'; sandbox",
    "Referrer-Policy": "no-referrer",
}
log = structlog.get_logger("closegap.api")


@final
class Exchange:
    """Around the whole application."""

    def __init__(self, app: ASGIApp, measures: Measures) -> None:
        self._app, self._measures = app, measures

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = scope["closegap.request_id"] = _request_id(scope)
        began, answered, status = time.perf_counter(), 0.0, 0

        async def answer(message: Message) -> None:
            nonlocal status, answered
            if message["type"] == "http.response.start":
                status, answered = message["status"], time.perf_counter()
                headers = MutableHeaders(scope=message)
                headers[HEADER] = request_id
                for name, value in _HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        try:
            _refuse_announced(scope)
            await self._app(scope, _bounded(scope, receive), answer)
        except problem.Answer as said:
            await problem.response(said, scope["path"], request_id)(scope, receive, answer)
        except ClientDisconnect:
            log.info("gone", path=scope["path"], request_id=request_id)
        except Exception as error:
            log.exception("fault", method=scope["method"], path=scope["path"], request_id=request_id)
            if status:
                raise
            await problem.response(problem.answer(error), scope["path"], request_id)(scope, receive, answer)
        finally:
            self._note(scope, status, began, answered or time.perf_counter())

    def _note(self, scope: Scope, status: int, began: float, answered: float) -> None:
        # The template, not the path: names of jobs would make a series each.
        route = getattr(scope.get("route"), "path", "none")
        self._measures.answered(scope["method"], route, status, answered - began)
        log.info(
            "request",
            method=scope["method"],
            path=scope["path"],
            status=status,
            ms=round(1e3 * (answered - began), 2),
            request_id=scope["closegap.request_id"],
            **_trace_id(scope),
        )


def _refuse_announced(scope: Scope) -> None:
    """Raise Answer 413 for a body that is too long by its own account."""
    announced = next((value for name, value in scope["headers"] if name == b"content-length"), b"0")
    if announced.isdigit() and int(announced) > largest_body(scope["path"]):
        raise too_large(
            f"the body has {int(announced)} bytes; accepted: at most {largest_body(scope['path'])}"
        )


def _bounded(scope: Scope, receive: Receive) -> Receive:
    """What is received, as long as it is not too long in all: then HTTPException 413, which FastAPI lets pass."""
    most, size = largest_body(scope["path"]), 0

    async def next_message() -> Message:
        nonlocal size
        message = await receive()
        size += len(message.get("body", b""))
        if size > most:
            raise HTTPException(413, f"the body is too long; accepted: at most {most} bytes")
        return message

    return next_message


def _trace_id(scope: Scope) -> dict[str, str]:
    """Of the caller's trace, where it tells one."""
    given = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
    span = Span.parse(given.decode("latin-1")) if given else None
    return {} if span is None else {"trace_id": span.trace}


def _request_id(scope: Scope) -> str:
    """The client's, where it is plain; else a new one."""
    given = next((value for name, value in scope["headers"] if name == HEADER.lower().encode()), b"")
    text = given.decode("latin-1")
    return text if _ACCEPTED.fullmatch(text) else secrets.token_hex(8)
