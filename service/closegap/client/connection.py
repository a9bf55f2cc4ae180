"""One service over HTTP: requests with their token, tried again where that is safe, and errors by what they mean."""

from __future__ import annotations

import ipaddress
import itertools
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any, TypeVar, final

import httpx
from pydantic import BaseModel, ValidationError

from closegap.client.errors import ClientError, NoService, Unreachable, of_response
from closegap.client.retry import TRANSIENT, Retry, asked_seconds

_Document = TypeVar("_Document", bound=BaseModel)
_KEPT_SECONDS = 2.0
"""An unused connection is kept; less than a server does, for what is sent when it closes one is lost."""
Query = Mapping[str, str | int | float | bool | list[str] | None]


@final
class Connection:
    """Safe to share between threads."""

    def __init__(
        self,
        url: str,
        token: str | None,
        retry: Retry,
        timeout: float,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        """`timeout`: seconds for one answer. Raises ClientError: not an address."""
        self.url = checked(url)
        self.retry, self._timeout = retry, timeout
        headers = {"User-Agent": f"closegap/{version('closegap')}"}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        self._http = httpx.Client(
            headers=headers,
            transport=transport,
            trust_env=not loopback(self.url),  # no proxy stands between a machine and itself
            follow_redirects=False,  # the token is for this address only
            limits=httpx.Limits(keepalive_expiry=_KEPT_SECONDS),
        )

    def close(self) -> None:
        """Let go of its sockets."""
        self._http.close()

    def get(self, kind: type[_Document], path: str, query: Query | None = None) -> _Document:
        """A document. Raises ClientError."""
        return read(kind, self.send("GET", path, query=query, repeatable=True))

    def send(
        self,
        method: str,
        path: str,
        *,
        repeatable: bool,
        query: Query | None = None,
        json: Any = None,
        content: bytes | None = None,
        headers: Mapping[str, str] | None = None,
        patience: float = 0.0,
    ) -> httpx.Response:
        """A successful answer, its body read.

        repeatable: doing it twice is doing it once, so that it may be sent again after a broken connection, 429 or 503.
        patience: seconds that the service was asked to hold the answer. Raises ClientError.
        """
        deadline = time.monotonic() + self.retry.deadline_seconds + patience
        for attempt in itertools.count(1):
            left = deadline - time.monotonic()
            asked: float | None = None
            cause: Exception | None = None
            try:
                response = self._http.request(
                    method,
                    f"{self.url}{path}",
                    params=_given(query),
                    json=json,
                    content=content,
                    headers=headers,
                    timeout=max(0.001, min(self._timeout + patience, left)),
                )
            except httpx.HTTPError as error:
                failed, cause = self.unreachable(error), error
            else:
                if response.is_success:
                    return response
                failed = of_response(response)
                if response.status_code not in TRANSIENT:
                    raise failed
                asked = asked_seconds(response.headers.get("Retry-After"))
            left = deadline - time.monotonic()
            wait = self.retry.wait(attempt, asked, left) if repeatable else None
            if wait is None:
                raise failed from cause
            time.sleep(wait)
        raise AssertionError("the loop ends by an answer or an error")

    @contextmanager
    def stream(
        self, path: str, *, query: Query | None = None, headers: Mapping[str, str], silence: float
    ) -> Iterator[httpx.Response]:
        """An answer whose body is read as it comes; `silence`: seconds without a byte that are too many.

        Once only: who reads a stream knows from where to go on. Raises ClientError, also inside the block.
        """
        timeout = httpx.Timeout(self._timeout, read=silence)
        try:
            with self._http.stream(
                "GET", f"{self.url}{path}", params=_given(query), headers=headers, timeout=timeout
            ) as response:
                if not response.is_success:
                    response.read()
                    raise of_response(response)
                yield response
        except httpx.HTTPError as error:
            raise self.unreachable(error) from error

    def unreachable(self, error: httpx.HTTPError) -> ClientError:
        """What a failure below HTTP is to a user."""
        if isinstance(error, httpx.ConnectError):
            return Unreachable(
                f"nobody answers at {self.url} ({error}). `closegap up` starts a service on this machine; "
                "`closegap context show` says which one is asked"
            )
        if isinstance(error, httpx.TimeoutException):
            return Unreachable(f"{self.url} did not answer in time ({type(error).__name__})")
        return Unreachable(f"the connection to {self.url} broke: {error or type(error).__name__}")


def read(kind: type[_Document], response: httpx.Response) -> _Document:
    """The document that an answer holds; fields that a newer service adds are passed over. Raises NoService."""
    try:
        return kind.model_validate_json(response.content, extra="ignore")
    except ValidationError as error:
        found = response.headers.get("Content-Type", "no type")
        raise NoService(
            f"what {response.request.url.copy_with(query=None)} answers ({found}) is no {kind.__name__} of closegap: "
            f"{error.errors()[0]['msg']}",
            status=response.status_code,
        ) from error


def checked(url: str) -> str:
    """An address, without what follows its path. Raises ClientError."""
    try:
        found = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as error:
        raise ClientError(f"`{url}` is no address: {error}") from error
    if found.scheme not in ("http", "https") or not found.host or found.userinfo or found.query:
        raise ClientError(
            f"`{found.copy_with(username=None, password=None, query=None)}` is no address of a service; accepted: "
            "http://HOST:PORT or https://HOST, without a user or a query"
        )
    return str(found.copy_with(fragment=None)).rstrip("/")


def loopback(url: str) -> bool:
    """Whether an address is this machine's own."""
    host = httpx.URL(url).host
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _given(query: Query | None) -> dict[str, Any]:
    """Without what is None."""
    return {name: value for name, value in (query or {}).items() if value is not None}
