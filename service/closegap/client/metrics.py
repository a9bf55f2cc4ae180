"""What a job has measured, as a data frame."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from closegap.client.documents import Series
from closegap.client.errors import ClientError

if TYPE_CHECKING:
    import pandas as pd

MOST_POINTS = 10_000
"""Of one series; of a longer one the service sends so many, extremes among them."""


def rows(series: Sequence[Series]) -> list[dict[str, Any]]:
    """One for each event type and place: {event, epoch (or step, iteration, rows): x, name: y, …}, in order."""
    found: dict[tuple[str, str, float], dict[str, Any]] = {}
    for one in series:
        for x, y in one.points:
            place = {"event": one.event, one.x: int(x) if x.is_integer() else x}
            found.setdefault((one.event, one.x, x), place)[one.name] = y
    return [found[place] for place in sorted(found)]


def frame(series: Sequence[Series]) -> pd.DataFrame:
    """`rows` as a frame: a column for `event`, one for each x, one for each series; NaN where nothing was reported.

    Raises ClientError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ClientError(
            "a data frame needs pandas: pip install 'closegap[client]', or ask for metrics(as_frame=False)"
        ) from error
    names = ["event", *dict.fromkeys(one.x for one in series), *dict.fromkeys(one.name for one in series)]
    data = rows(series)
    found = pd.DataFrame({name: [row.get(name) for row in data] for name in names}, columns=names)
    for one in series:
        found[one.name] = pd.to_numeric(found[one.name], errors="coerce")
    return found
