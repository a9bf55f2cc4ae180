"""Spans below an attempt: its ranks, trials, epochs and shards tell by events, its worker exports them.

So an attempt needs nothing of OpenTelemetry, and what it told is not lost when it is killed.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, final

from closegap.job import Claim, Event
from closegap.trace import EndedSpan, Span, Tracer
from closegap_workers import channel as channels
from closegap_workers.channel import Channel


@final
class Traced(Channel):
    """A channel whose pieces of work become spans, one after the other."""

    def __init__(self, channel: Channel, below: str) -> None:
        """below: the word of the span that they are parts of; "" is the attempt's own."""
        self._channel, self._below, self._last = channel, below, time.time()

    def put(self, event: channels.Event) -> None:
        self._channel.put(event)

    def stopped(self) -> bool:
        return self._channel.stopped()

    def piece(self, name: str, **attributes: Any) -> None:
        began, self._last = self._last, time.time()
        self._channel.put(_told(name, "", self._below, began, self._last, attributes))


@contextmanager
def traced(
    channel: Channel, on: bool, name: str = "", word: str = "", **attributes: Any
) -> Iterator[Channel]:
    """The channel for some work; where the trace is on, pieces are told, and with a name the whole as well."""
    if not on:
        yield channel
        return
    began = time.time()
    try:
        yield Traced(channel, word)
    finally:
        if name:
            channel.put(_told(name, word, "", began, time.time(), attributes))


def _told(
    name: str, word: str, below: str, began: float, ended: float, attributes: Mapping[str, Any]
) -> channels.Event:
    return {
        "type": "span", "name": name, "word": word, "below": below, "began": began, "ended": ended,
        "attributes": dict(attributes),
    }  # fmt: skip


@final
class AttemptTrace:
    """The spans of one attempt, as its worker tells of them."""

    def __init__(self, tracer: Tracer, claim: Claim) -> None:
        self._tracer, self._claim = tracer, claim
        self._root = Span.parse(claim.job.traceparent) if claim.job.traceparent else None
        self._began = time.time()

    @property
    def traceparent(self) -> str:
        """Of the attempt's span: what its work is part of."""
        return "" if self._root is None else str(self._of(self._root, self._claim.attempt))

    @property
    def on(self) -> bool:
        """Whether anybody listens."""
        return self._tracer.on and self._root is not None

    def begin(self, history: Iterator[Event]) -> None:
        """Tell of the wait and the claim; and of an attempt before this one whose worker has died without a word.

        history: the job's events; read only where the trace is on and there was such an attempt.
        """
        if self._root is None or not self.on:
            return
        job, number = self._claim.job, self._claim.attempt
        claimed = job.claimed.timestamp() if job.claimed is not None else self._began
        for name, seconds, end in (
            ("queue wait", job.waited or 0.0, claimed),
            ("claim", self._claim.seconds, claimed + self._claim.seconds),
        ):
            span = self._root.child(job.id, number, name)
            words = self._attributes(number) | {"priority": job.priority}
            self._tracer.tell(EndedSpan(name, span, self._root, end - seconds, end, words))
        if number > 1 and (lost := _lost(history, number - 1)) is not None:
            began, ended, reason = lost
            span = self._of(self._root, number - 1)
            words = self._attributes(number - 1) | {"outcome": "lost"}
            self._tracer.tell(EndedSpan("attempt", span, self._root, began, ended, words, reason))

    def hear(self, event: channels.Event) -> None:
        """A `span` event of the attempt's work."""
        if self._root is None or not self.on:
            return
        own, job = self._of(self._root, self._claim.attempt), self._claim.job.id
        place = (job, self._claim.attempt)
        span = own.child(*place, event["word"]) if event["word"] else own.child()
        parent = own.child(*place, event["below"]) if event["below"] else own
        words = self._attributes(self._claim.attempt) | event["attributes"]
        self._tracer.tell(EndedSpan(event["name"], span, parent, event["began"], event["ended"], words))

    def end(self, said: str, failed: bool) -> None:
        """The attempt is over; `said` is how, in words."""
        if self._root is not None and self.on:
            span = self._of(self._root, self._claim.attempt)
            words = self._attributes(self._claim.attempt) | {"outcome": said[:200]}
            error = said[:500] if failed else ""
            self._tracer.tell(EndedSpan("attempt", span, self._root, self._began, time.time(), words, error))

    def _of(self, root: Span, attempt: int) -> Span:
        return root.child(self._claim.job.id, attempt)

    def _attributes(self, attempt: int) -> dict[str, Any]:
        job = self._claim.job
        return {"job": job.id, "attempt": attempt, "kind": job.kind, "project": job.project}


def _lost(history: Iterator[Event], attempt: int) -> tuple[float, float, str] | None:
    """When an attempt was claimed and taken back, and why; None where its worker has told of its end itself."""
    claimed = None
    for event in history:
        if event.type != "state":
            continue
        if event.data.get("to") == "claimed":
            claimed = event.time.timestamp() if event.data.get("reason") == f"attempt {attempt}" else None
        elif claimed is not None and event.data.get("actor") == "queue":  # only the queue takes back
            return claimed, event.time.timestamp(), str(event.data.get("reason", ""))
    return None
