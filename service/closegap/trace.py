"""Spans of OpenTelemetry, from a submission to a shard; nothing of it is imported where no endpoint is set.

A job record carries the `traceparent` (W3C Trace Context) of its submission. The ids of the spans of its attempts are
functions of trace, job, attempt and a word, so whoever speaks of an attempt means the same span: its ranks name it as
their parent before it has ended, and where a worker dies the next one tells of it.
"""

from __future__ import annotations

import hashlib
import importlib.util
import re
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any, NamedTuple, final

from closegap.errors import SettingsError

_TRACEPARENT = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_MISSING = (
    "CLOSEGAP_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_ENDPOINT) is set, but OpenTelemetry is not installed: "
    "pip install 'closegap[trace]'"
)
EXPORT_SECONDS = 5.0
"""How long the end of a process waits for a collector."""
_DELAY_MS = 500.0


@final
class Span(NamedTuple):
    """Where a span is: what a `traceparent` says."""

    trace: str
    """32 hex digits."""
    id: str
    """16 hex digits."""
    sampled: bool = True

    @classmethod
    def parse(cls, text: str) -> Span | None:
        """A `traceparent`; None where it is none."""
        found = _TRACEPARENT.fullmatch(text.strip())
        if found is None or found[1] == "ff" or not int(found[2], 16) or not int(found[3], 16):
            return None
        return cls(found[2], found[3], bool(int(found[4], 16) & 1))

    def __str__(self) -> str:
        return f"00-{self.trace}-{self.id}-{int(self.sampled):02x}"

    def child(self, *words: object) -> Span:
        """The span below this trace that these words stand for; without words any new one."""
        text = "/".join([self.trace, *map(str, words)])
        identifier = hashlib.sha256(text.encode()).hexdigest()[:16] if words else secrets.token_hex(8)
        return self._replace(id=identifier)


def begun() -> Span:
    """The first span of a new trace."""
    return Span(secrets.token_hex(16), secrets.token_hex(8))


@final
class EndedSpan(NamedTuple):
    """What is told of a span. Times are seconds since the epoch."""

    name: str
    span: Span
    parent: Span | None
    began: float
    ended: float
    attributes: Mapping[str, Any]
    error: str = ""
    """What it ended with; nothing where all went well."""


class Tracer(ABC):
    """Takes spans that have ended."""

    on: bool

    @abstractmethod
    def tell(self, told: EndedSpan) -> None:
        """Tell of a span; never waits. One that is not sampled is not told."""

    @abstractmethod
    def close(self) -> None:
        """Export what is left, for EXPORT_SECONDS at most."""

    @contextmanager
    def submission(self, traceparent: str, name: str) -> Iterator[str]:
        """A span around a submission, below the caller's if there is one; yields the traceparent for its jobs."""
        parent = Span.parse(traceparent)
        if not self.on:
            yield str(parent) if parent is not None else ""
            return
        span, began, error = parent.child() if parent is not None else begun(), time.time(), ""
        try:
            yield str(span)
        except Exception as problem:
            error = type(problem).__name__
            raise
        finally:
            self.tell(EndedSpan(name, span, parent, began, time.time(), {}, error))


@final
class Silent(Tracer):
    """Where no endpoint is set."""

    on = False

    def tell(self, told: EndedSpan) -> None:
        return

    def close(self) -> None:
        return


@final
class Exporting(Tracer):
    """To a collector, by OTLP over HTTP, from a thread of its own."""

    on = True

    def __init__(self, endpoint: str, service: str) -> None:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace.export import BatchSpanProcessor

        exporter = OTLPSpanExporter(endpoint=f"{endpoint.rstrip('/')}/v1/traces", timeout=EXPORT_SECONDS)
        self._processor = BatchSpanProcessor(exporter, schedule_delay_millis=_DELAY_MS)
        self._resource = Resource.create({"service.name": service})

    def tell(self, told: EndedSpan) -> None:
        if not told.span.sampled:
            return
        from opentelemetry.sdk.trace import ReadableSpan
        from opentelemetry.trace import Status, StatusCode

        known = {f"closegap.{key}": value for key, value in told.attributes.items() if value is not None}
        span = ReadableSpan(
            told.name,
            context=_context(told.span),
            parent=None if told.parent is None else _context(told.parent),
            resource=self._resource,
            attributes=known,
            start_time=round(1e9 * told.began),
            end_time=round(1e9 * max(told.began, told.ended)),
            status=Status(StatusCode.ERROR, told.error) if told.error else Status(),
        )
        self._processor.on_end(span)

    def close(self) -> None:
        shutdown: Callable[[], None] = self._processor.shutdown
        shutdown()


def tracer(endpoint: str | None, service: str) -> Tracer:
    """For a process. Raises SettingsError: an endpoint is set, and what would export to it is not installed."""
    if not endpoint:
        return Silent()
    if importlib.util.find_spec("opentelemetry") is None:
        raise SettingsError(_MISSING)
    try:
        return Exporting(endpoint, service)
    except ImportError as error:
        raise SettingsError(_MISSING) from error


def _context(span: Span) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    return SpanContext(int(span.trace, 16), int(span.id, 16), is_remote=False, trace_flags=TraceFlags(1))
