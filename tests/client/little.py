"""A little real server that answers as a test tells it to: what a client does when answers fail."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple, Self


class Asked(NamedTuple):
    """A request that came in."""

    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes


class Says(NamedTuple):
    """An answer; status 0 closes the connection without one, `cut` closes it after so many bytes of the body."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = {}
    cut: int | None = None

    @property
    def content(self) -> bytes:
        """Bytes as they are, anything else as JSON."""
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Little:
    """Answers the n-th request by what `answer` gives for (n, request). A context manager."""

    def __init__(self, answer: Callable[[int, Asked], Says]) -> None:
        self.asked: list[Asked] = []
        lock = threading.Lock()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def handle_one(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                asked = Asked(self.command, self.path, dict(self.headers), body)
                with lock:
                    little.asked.append(asked)
                    number = len(little.asked)
                said = answer(number, asked)
                self.close_connection = True
                if said.status == 0:
                    self.connection.shutdown(socket.SHUT_RDWR)
                    return
                self.send_response(said.status)
                for name, value in {
                    "Content-Type": "application/json",
                    "Connection": "close",
                    **said.headers,
                }.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(said.content)))
                with contextlib.suppress(BrokenPipeError):  # who asked has not waited
                    self.end_headers()
                    self.wfile.write(said.content[: said.cut])

            do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = handle_one

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing."""

        little = self
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


def problem(status: int, code: str, **headers: str) -> Says:
    """As the service says that something is wrong."""
    document = {"code": code, "detail": f"{code}!", "status": status, "request_id": "r1", "errors": []}
    return Says(status, document, {"Content-Type": "application/problem+json", **headers})
