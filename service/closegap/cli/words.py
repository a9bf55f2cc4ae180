"""Numbers, times and states as people read them."""

from __future__ import annotations

import re

STYLES = {
    "blocked": "dim",
    "queued": "yellow",
    "claimed": "cyan",
    "running": "cyan",
    "paused": "blue",
    "succeeded": "green",
    "failed": "red",
    "cancelled": "magenta",
}
STOPPING = {"cancelled": "cancelling", "paused": "pausing", "queued": "giving its worker up"}
"""A job that still runs, by what it is asked to become."""
_UNITS = {"s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def duration(seconds: float | None) -> str:
    """`0.4 s`, `12 s`, `3:07 min`, `2:05 h`, `3.2 d`; a dash for None."""
    if seconds is None or seconds < 0:
        return "–"
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60}:{whole % 60:02d} min"
    if whole < 2 * 86400:
        return f"{whole // 3600}:{whole % 3600 // 60:02d} h"
    return f"{seconds / 86400:.1f} d"


def seconds_of(text: str) -> float:
    """Seconds of `90`, `30s`, `5m`, `5min`, `2h` or `1d`.

    Raises:
        ValueError: the text is none of these.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*(s|min|m|h|d)?", text.strip())
    if match is None:
        raise ValueError(f"{text!r} is not a duration: write seconds or 30s, 5m, 2h, 1d")
    return float(match[1]) * _UNITS[match[2] or "s"]


def rate(value: float | None, unit: str) -> str:
    """`512 rows/s`; an empty text when unknown."""
    if value is None or value <= 0:
        return ""
    shown = f"{value:,.0f}" if value >= 10 else f"{value:.2g}"
    return f"{shown} {plural(unit)}/s"


def plural(unit: str) -> str:
    """`rows`, `passes`: of the units in which progress is told."""
    return f"{unit}es" if unit.endswith("s") else f"{unit}s"


def state(name: str) -> str:
    """The state in its colour, as Rich markup."""
    return f"[{STYLES.get(name, 'default')}]{name}[/]"


def nats(value: float | None) -> str:
    """A bound in nats with two decimals; a dash for None."""
    return "–" if value is None else f"{value:.2f}"


def plain(text: str) -> str:
    """Text that may hold brackets, safe among Rich markup."""
    from rich.markup import escape

    return escape(text)
