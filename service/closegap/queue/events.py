"""A job's event stream: what goes in from an attempt, and what comes out to those who follow."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import redis

from closegap.errors import Conflict
from closegap.job import Event
from closegap.store.store import speaking

LONGEST = 5000
"""Entries a stream keeps; states, epochs and metrics stay beyond that, the oldest progress and log lines go."""
LARGEST = 65_536
"""Bytes of one event."""
AT_ONCE = 2500
"""Events that one script reads."""
RESERVED = frozenset({"state", "end", "wish", "change"})
"""Only the queue itself writes these."""


def pack(reported: Sequence[Mapping[str, Any]]) -> tuple[str, list[str]]:
    """The last progress (JSON, or empty) and type, data of each event, as report.lua takes them. Raises Conflict."""
    flat: list[str] = []
    progress = ""
    for event in reported:
        kind = str(event.get("type", ""))
        if not kind or kind in RESERVED:
            taken = ", ".join(sorted(RESERVED))
            raise Conflict(f"an attempt cannot report an event of type `{kind}`; accepted: any but {taken}")
        data = {name: _finite(value) for name, value in event.items() if name != "type"}
        if kind == "progress":
            data = _with_eta(data)
        text = json.dumps(data, separators=(",", ":"), allow_nan=False)
        if len(text) > LARGEST:
            raise Conflict(f"an event of type `{kind}` has {len(text)} bytes; accepted: at most {LARGEST}")
        flat += [kind, text]
        progress = text if kind == "progress" else progress
    return progress, flat


def read(client: redis.Redis, stream: str, after: str, block: float, limit: int) -> list[Event]:
    """Up to `limit` events after an id; waits up to `block` seconds for the first one."""
    wait = max(1, round(block * 1000)) if block > 0 else None
    with speaking(client):
        answer: Any = client.xread({stream: after}, count=limit, block=wait)
    return batches(answer).get(stream, [])


def batches(answer: Any) -> dict[str, list[Event]]:
    """What an XREAD found, by stream: [[name, entries], …] under RESP2, {name: [entries, …]} under RESP3."""
    if isinstance(answer, dict):
        return {name: [event for part in parts for event in parsed(part)] for name, parts in answer.items()}
    return {name: parsed(entries) for name, entries in answer or ()}


def parsed(entries: Any) -> list[Event]:
    """Entries of one stream."""
    return [_event(identifier, fields) for identifier, fields in entries]


def _event(identifier: str, fields: Mapping[str, str]) -> Event:
    time = datetime.fromtimestamp(int(fields["time"]) / 1000, UTC)
    return Event(id=identifier, type=fields["type"], time=time, data=json.loads(fields["data"]))


def _finite(value: Any) -> Any:
    """JSON has no NaN and no infinity; as everywhere else in its world they become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {name: _finite(item) for name, item in value.items()}
    return [_finite(item) for item in value] if isinstance(value, list | tuple) else value


def _with_eta(progress: dict[str, Any]) -> dict[str, Any]:
    done, total, rate = progress.get("done"), progress.get("total"), progress.get("rate")
    if progress.get("eta") is not None or done is None or total is None or not rate:
        return progress
    return {**progress, "eta": max(0.0, (total - done) / rate)}
