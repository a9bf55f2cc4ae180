"""What every route works with: the parts of the service, opened once a process from the settings."""

from __future__ import annotations

from typing import Annotated, NamedTuple, final

import redis.asyncio
from fastapi import Depends, Request
from starlette.concurrency import run_in_threadpool

from closegap.access.session import Sessions
from closegap.access.tokens import Tokens
from closegap.api.feed import Feed
from closegap.api.limits import Places, Rate, Seats
from closegap.api.measures import Measures
from closegap.api.readings import Shelf
from closegap.api.sessions import Encoders
from closegap.queue.audit import Audit
from closegap.queue.census import Census
from closegap.queue.queue import Queue
from closegap.queue.shares import Shares
from closegap.queue.tallies import Tallies
from closegap.settings import Settings
from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap.store.store import connect, listener
from closegap.trace import Tracer, tracer

PATIENCE = 1.0
"""Seconds that a request waits for a store that is away, before it is answered with 503."""
FAILURES_A_SECOND, FAILURES_AT_ONCE = 5.0, 50.0
"""Of an address whose tokens are none."""
STREAMS = 1000
"""Event streams of one process."""


@final
class Limits(NamedTuple):
    """What callers may take; of `encodings`, which are this process's work, each process has its own."""

    rate: Rate
    failures: Rate
    streams: Seats
    encodings: Places


@final
class Context(NamedTuple):
    """The parts. Safe to share between threads; `feed` belongs to the event loop."""

    settings: Settings
    queue: Queue
    census: Census
    artifacts: ArtifactStore
    tokens: Tokens
    sessions: Sessions
    audit: Audit
    feed: Feed
    shelf: Shelf
    encoders: Encoders
    limits: Limits
    tallies: Tallies
    measures: Measures
    scrapers: dict[str, float]
    tracer: Tracer
    client: redis.Redis
    listener: redis.asyncio.Redis
    auth: bool

    def registry(self, project: str) -> Registry:
        """Of one project."""
        return Registry(self.artifacts, project)

    async def close(self) -> None:
        """Let go of the store."""
        await self.feed.close()
        await self.listener.aclose()
        self.client.close()
        await run_in_threadpool(self.tracer.close)


def opened(settings: Settings, auth: bool = True) -> Context:
    """Everything, the store having answered. Without `auth` whoever reaches the address may do everything.

    Raises StoreUnavailable, SettingsError, StorageError.
    """
    tracing = tracer(settings.otlp_endpoint, "closegap-api")
    client, listening = connect(settings, PATIENCE), listener(settings)
    queue = Queue(client, settings.namespace, settings.backoff_seconds)
    census, tallies = Census(client, settings.namespace), Tallies(client, settings.namespace)
    shares = Shares(client, settings.namespace)
    limits = Limits(
        Rate(shares, "requests", settings.api_rate, 2 * settings.api_rate),
        Rate(shares, "failures", FAILURES_A_SECOND, FAILURES_AT_ONCE),
        Seats(shares, each=settings.api_streams, here=STREAMS),
        Places("encodings", in_all=2, each=2, retry_seconds=1),
    )
    return Context(
        settings=settings,
        queue=queue,
        census=census,
        artifacts=ArtifactStore(settings.storage),
        tokens=Tokens(client, settings.namespace),
        sessions=Sessions(client, settings.namespace),
        audit=Audit(client, settings.namespace),
        feed=Feed(listening, settings.namespace),
        shelf=Shelf(queue),
        encoders=Encoders(),
        limits=limits,
        tallies=tallies,
        measures=Measures(queue, tallies, settings.metrics_projects),
        scrapers={},
        tracer=tracing,
        client=client,
        listener=listening,
        auth=auth,
    )


def _context(request: Request) -> Context:
    found: Context = request.app.state.context
    return found


Ctx = Annotated[Context, Depends(_context)]
"""How a route asks for the context."""
