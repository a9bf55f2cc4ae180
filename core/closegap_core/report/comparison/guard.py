"""Which figures may stand in one ranking: those of the same rows, drawn and bounded in the same way."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from itertools import groupby

from closegap_core.report.comparison.inputs import ComparisonError, Entry

FIELDS = {
    "likelihood": "likelihoods",
    "data_digest": "data",
    "draw": "draws of the data",
    "part": "parts of the data",
    "rows": "numbers of rows",
    "rows_digest": "rows",
    "importance_samples": "numbers of importance samples",
    "seed": "seeds of the measurement",
}
"""Of an evaluation's identity: what has to agree, and what it is called. Static against dynamic binarisation alone
moves a bound by about two nats (Burda et al. 2016), as much as many a method."""


def check(entries: Sequence[Entry]) -> None:
    """Raises ComparisonError naming the first field in which two entries of a group differ, with both values."""
    for _, members in grouped(entries):
        first, *others = members
        for other in others:
            _compare(first, other)


def grouped(entries: Iterable[Entry]) -> list[tuple[str, list[Entry]]]:
    """Groups in the order of their first entries, each with its entries in order."""
    entries = list(entries)
    order = list(dict.fromkeys(entry.group for entry in entries))
    ranked = sorted(entries, key=lambda entry: order.index(entry.group))
    return [(name, list(members)) for name, members in groupby(ranked, key=lambda entry: entry.group)]


def _compare(first: Entry, other: Entry) -> None:
    for field, called in FIELDS.items():
        ours, theirs = first.identity.get(field), other.identity.get(field)
        if ours != theirs:
            raise ComparisonError(
                f"`{first.label}` and `{other.label}` have different {called}: identity.{field} is "
                f"{json.dumps(ours)} and {json.dumps(theirs)}; put them into different groups, or measure them alike"
            )
