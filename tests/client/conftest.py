"""Clients of the API: in this process, through a transport of httpx, and of a real server on a loopback port."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import httpx
import pytest
from anyio.from_thread import BlockingPortal, start_blocking_portal
from fastapi import FastAPI

from closegap import Client, Retry
from closegap.api.context import Context
from closegap.job import Capacity, Claim, Failure
from closegap.queue.queue import Queue
from tests.api.sealed import sealed_model
from tests.serving import TRAIN, app, brief, context, secret, settings, url

__all__ = ["app", "brief", "context", "secret", "settings", "url"]

QUICK = Retry(attempts=5, first_seconds=0.01, longest_seconds=0.05, deadline_seconds=5.0)
Made = Callable[..., Client]


class InProcess(httpx.BaseTransport):
    """Calls an application on an event loop in another thread. Bodies come whole: what streams needs a server."""

    def __init__(self, app: FastAPI, portal: BlockingPortal) -> None:
        self._inner, self._portal = httpx.ASGITransport(app=app), portal

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        async def call() -> httpx.Response:
            given = httpx.Request(
                request.method, request.url, headers=request.headers, content=request.read()
            )
            answer = await self._inner.handle_async_request(given)
            return httpx.Response(answer.status_code, headers=answer.headers, content=await answer.aread())

        return self._portal.call(call)


@pytest.fixture
def within(app: FastAPI, context: Context) -> Iterator[InProcess]:
    """The application in this process."""
    with start_blocking_portal() as portal:
        yield InProcess(app, portal)
        portal.call(context.close)


@pytest.fixture
def client(within: InProcess, secret: Callable[..., str]) -> Iterator[Client]:
    """A submitter's, in this process."""
    with Client("http://localhost", secret("submitter"), transport=within, retry=QUICK) as made:
        yield made


@pytest.fixture
def remote(url: str, secret: Callable[..., str]) -> Iterator[Made]:
    """Clients of the real server, with a token of a role for some projects or all."""
    made: list[Client] = []

    def make(role: str = "submitter", *projects: str, **options: Any) -> Client:
        made.append(Client(url, secret(role, *projects), **{"retry": QUICK, **options}))
        return made[-1]

    yield make
    for one in made:
        one.close()


class Worker(NamedTuple):
    """A worker's side of the queue, in a test's words."""

    queue: Queue

    def starts(self) -> Claim:
        """Claim and start the next job."""
        claim = self.queue.claim("w", Capacity(cpus=1), 60)
        assert claim is not None
        self.queue.start(claim.lease)
        return claim

    def reports(self, claim: Claim, *events: dict[str, Any]) -> None:
        """What an attempt says."""
        self.queue.report(claim.lease, events)

    def succeeds(self, claim: Claim, **outputs: Any) -> None:
        """The end of a job."""
        self.queue.succeed(claim.lease, outputs)

    def fails(self, claim: Claim, message: str, hint: str = "") -> None:
        """The end of a job."""
        self.queue.fail(claim.lease, Failure(failure="user", message=message, hint=hint))


@pytest.fixture
def worker(context: Context) -> Worker:
    """Of the service that the clients ask."""
    return Worker(context.queue)


@pytest.fixture
def digest(context: Context) -> str:
    """Of a model that is registered as `m/1` in project `default`, with a real encoder of 4 values."""
    made = sealed_model(context.artifacts)
    context.registry("default").register("m", made, "train-1", 1)
    return made


def spec(**fields: Any) -> dict[str, Any]:
    """A train spec with some fields changed."""
    return {**TRAIN, **fields}
