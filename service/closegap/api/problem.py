"""Every error of the API as `application/problem+json` (RFC 9457): one place where an exception becomes an answer."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, NamedTuple, final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response

from closegap.errors import (
    Changed,
    Conflict,
    KeyReused,
    NotFound,
    Refused,
    ServiceError,
    SettingsError,
    SpecError,
    StorageError,
    StorageFull,
    StoreUnavailable,
    TokenError,
)
from closegap.specs.problems import pointer
from closegap_core.errors import BundleError, ConfigError, CoreError, DataError, EncodeError

MEDIA_TYPE = "application/problem+json"
TYPES = "urn:closegap:problem:"
_SHOWN = 200
"""Characters of a value that was refused; it may be a whole body."""


@final
class ProblemItem(BaseModel):
    """One thing that is wrong with a request."""

    pointer: str = Field(
        description="JSON pointer (RFC 6901) into the body, or `?name`, `/{name}`, `@header`."
    )
    message: str
    accepted: str = Field("", description="What would do; empty where the message says it.")
    value: Any = Field(None, description="What was found there, shortened.")


@final
class ProblemDocument(BaseModel):
    """An error, as RFC 9457 has it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": f"{TYPES}not_found",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "there is no job `train-7f3a`",
                    "instance": "/v1/jobs/train-7f3a",
                    "code": "not_found",
                    "errors": [],
                    "request_id": "5f0c2d7e9b1a4c33",
                }
            ]
        }
    )
    type: str = Field(description="Names the kind of error; stable.")
    title: str
    status: int
    detail: str
    instance: str = Field(description="The path that was asked for.")
    code: str = Field(description="The last part of `type`, for programs.")
    errors: list[ProblemItem] = Field(default_factory=list, description="Every problem, not only the first.")
    request_id: str


class Answer(Exception):
    """An error that is an answer of the API, with its status and code."""

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        headers: Mapping[str, str] | None = None,
        errors: Sequence[ProblemItem] = (),
    ) -> None:
        self.status, self.code, self.detail = status, code, detail
        self.headers = dict(headers or {})
        self.errors = tuple(errors)
        super().__init__(detail)


class _Kind(NamedTuple):
    error: type[Exception]
    status: int
    code: str


_KINDS = (
    _Kind(SpecError, 422, "invalid_spec"),
    _Kind(NotFound, 404, "not_found"),
    _Kind(Changed, 412, "changed"),
    _Kind(KeyReused, 422, "key_reused"),
    _Kind(Conflict, 409, "conflict"),
    _Kind(Refused, 422, "never_fits"),
    _Kind(TokenError, 422, "invalid_token"),
    _Kind(StoreUnavailable, 503, "store_unavailable"),
    _Kind(StorageFull, 507, "storage_full"),
    _Kind(StorageError, 503, "storage_unavailable"),
    _Kind(SettingsError, 503, "not_ready"),
    _Kind(EncodeError, 422, "invalid_rows"),
    _Kind(BundleError, 409, "bundle_damaged"),
    _Kind(DataError, 422, "invalid_data"),
    _Kind(ConfigError, 422, "invalid_spec"),
)
"""First match wins. What is not here is a fault of closegap: 500."""
_VAGUE = {
    "store_unavailable": "the store cannot be reached or takes no writes; try again in a moment",
    "storage_full": "no space is left on the storage",
    "storage_unavailable": "the storage cannot be used",
    "not_ready": "the service is not set up as it should be",
    "bundle_damaged": "the bundle is not whole: it was altered, or a file of it is missing",
}
"""What a client is told of errors whose own words name addresses and folders of the server; the log has those."""
RETRY_SECONDS = 2


def install(app: FastAPI) -> None:
    """Answer every error of this application with a problem document."""
    app.add_exception_handler(Answer, _handle)
    app.add_exception_handler(ServiceError, _handle)
    app.add_exception_handler(CoreError, _handle)
    app.add_exception_handler(HTTPException, _handle)
    app.add_exception_handler(RequestValidationError, _handle)


async def _handle(request: Request, error: Exception) -> Response:
    return response(answer(error), request.url.path, request.scope.get("closegap.request_id", ""))


def answer(error: Exception) -> Answer:
    """What an exception is to a client. One that nobody expected says nothing of itself."""
    if isinstance(error, Answer):
        return error
    if isinstance(error, HTTPException):
        return _of_server(error)
    if isinstance(error, RequestValidationError):
        return _of_validation(error)
    for kind in _KINDS:
        if isinstance(error, kind.error):
            headers = {"Retry-After": str(RETRY_SECONDS)} if kind.status == 503 else {}
            errors = _spec_items(error) if isinstance(error, SpecError) else []
            return Answer(kind.status, kind.code, _words(error, kind.code), headers, errors)
    return Answer(500, "internal", "a fault of closegap; its log has more under this request id")


def response(said: Answer, path: str, request_id: str) -> Response:
    """The document."""
    document = ProblemDocument(
        type=f"{TYPES}{said.code}",
        title=HTTPStatus(said.status).phrase,
        status=said.status,
        detail=said.detail,
        instance=path,
        code=said.code,
        errors=list(said.errors),
        request_id=request_id,
    )
    # Surrogates of a path or a body are no UTF-8; JSON writes them as escapes.
    content = json.dumps(document.model_dump(mode="json")).encode()
    return Response(content, said.status, said.headers, MEDIA_TYPE)


def _words(error: Exception, code: str) -> str:
    if code in _VAGUE:
        return _VAGUE[code]
    if isinstance(error, SpecError):
        count = len(error.problems)
        return f"the spec is not valid: {count} problem{'' if count == 1 else 's'}"
    return str(error) or type(error).__name__


def _of_server(error: HTTPException) -> Answer:
    codes = {404: "no_such_route", 405: "method_not_allowed", 413: "too_large", 415: "unsupported_media_type"}
    code = codes.get(error.status_code, "bad_request" if error.status_code < 500 else "internal")
    return Answer(error.status_code, code, str(error.detail), error.headers)


def _of_validation(error: RequestValidationError) -> Answer:
    """All that is wrong with path, query, headers and body. A path that cannot be is a thing that is not there."""
    found = error.errors()
    if all(item["loc"][:1] == ("path",) for item in found):
        values = ", ".join(f"`{str(item.get('input', ''))[:_SHOWN]}`" for item in found)
        return Answer(404, "not_found", f"nothing is called {values}")
    if any(item["type"] == "json_invalid" for item in found):
        said = found[0]
        reason = said.get("ctx", {}).get("error", said["msg"])
        return Answer(400, "malformed_json", f"the body is not JSON: {reason}")
    items = [_item(item) for item in found]
    count = len(items)
    return Answer(
        422, "invalid_request", f"the request has {count} problem{'' if count == 1 else 's'}", None, items
    )


def _item(found: Mapping[str, Any]) -> ProblemItem:
    place, *path = found["loc"] or ("body",)
    where = {"query": f"?{'.'.join(map(str, path))}", "header": f"@{'.'.join(map(str, path))}"}.get(
        str(place), pointer(tuple(path))
    )
    message = str(found["msg"]).removeprefix("Value error, ")
    return ProblemItem(pointer=where, message=message, value=shortened(found.get("input")))


def _spec_items(error: SpecError) -> list[ProblemItem]:
    return [
        ProblemItem(
            pointer=item.pointer, message=item.message, accepted=item.accepted, value=shortened(item.value)
        )
        for item in error.problems
    ]


def shortened(value: Any) -> Any:
    """A value that was refused, as JSON can hold it and no longer than a line."""
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, int):
        return value if abs(value) < 1 << 53 else f"an integer of {value.bit_length()} bits"
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    text = value if isinstance(value, str) else type(value).__name__ if _nested(value) else str(value)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"


def _nested(value: Any) -> bool:
    return isinstance(value, Mapping | list | tuple | bytes)
