"""When a request that was not answered is sent again: growing waits with full jitter, few times, within a deadline."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import NamedTuple, final

TRANSIENT = frozenset({429, 502, 503, 504})
"""Answers after which the same request may succeed."""


@final
class Retry(NamedTuple):
    """How often and how long. Only what may be done twice is sent twice: see `Connection.send`."""

    attempts: int = 6
    first_seconds: float = 0.1
    longest_seconds: float = 5.0
    deadline_seconds: float = 60.0
    """For all attempts of one request together, waits and answers included."""

    def wait(self, attempt: int, asked: float | None, left: float) -> float | None:
        """Seconds before the next attempt; None: this was the last.

        attempt: how many there were; asked: what `Retry-After` said; left: seconds of the deadline. Many clients that
        failed together come back apart, for each waits a random part of the bound (full jitter).
        """
        bound = min(self.longest_seconds, self.first_seconds * 2.0 ** (attempt - 1))
        seconds = (asked or 0.0) + random.uniform(0.0, bound)
        return seconds if attempt < self.attempts and seconds < left else None


NEVER = Retry(attempts=1)
"""Once, then the error."""


def asked_seconds(header: str | None) -> float | None:
    """Of a `Retry-After` header: seconds, or a date; None where it says nothing that can be read."""
    if header is None:
        return None
    if header.strip().isdecimal():
        return float(header)
    try:
        until = parsedate_to_datetime(header)
    except ValueError:
        return None
    aware = until if until.tzinfo else until.replace(tzinfo=UTC)
    return max(0.0, (aware - datetime.now(UTC)).total_seconds())
