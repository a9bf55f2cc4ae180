"""Which jobs are meant: the same words for `jobs` and `cancel_all`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, TypedDict, final

from closegap.client.connection import Query
from closegap.client.errors import ClientError

Words = str | Sequence[str]


@final
class Selection(TypedDict, total=False):
    """Every field that is given must hold; of several words in one, any."""

    project: Words
    state: Words
    kind: Words
    label: Mapping[str, str]
    name: str
    """Whole, or with `*` for any text."""
    pipeline: str
    created_after: datetime
    created_before: datetime


def query(selection: Selection) -> Query:
    """As the listing takes it. Raises ClientError: a choice among no words at all."""
    given: Mapping[str, Any] = dict(selection)
    return {
        **{name: words(name, given.get(name)) for name in ("project", "state", "kind")},
        "label": [f"{name}={value}" for name, value in given.get("label", {}).items()] or None,
        "name": given.get("name"),
        "pipeline": given.get("pipeline"),
        **{name: moment(given.get(name)) for name in ("created_after", "created_before")},
    }


def bodies(selection: Selection, every: bool) -> list[dict[str, Any]]:
    """As a cancellation takes it: one for each project that is named, else one. Raises ClientError."""
    given: Mapping[str, Any] = dict(selection)
    meant = {
        "states": words("state", given.get("state")),
        "kinds": words("kind", given.get("kind")),
        "labels": given.get("label"),
        "name": given.get("name"),
        "pipeline": given.get("pipeline"),
        "created_after": moment(given.get("created_after")),
        "created_before": moment(given.get("created_before")),
        "all": every or None,
    }
    one = {name: value for name, value in meant.items() if value is not None}
    projects = words("project", given.get("project"))
    return [one] if projects is None else [one | {"project": project} for project in projects]


def words(name: str, value: Words | None) -> list[str] | None:
    """One word is a list of one. To leave a choice out gives all; a choice among none is a mistake."""
    if value is None:
        return None
    found = [str(value)] if isinstance(value, str) else [str(word) for word in value]
    if not found:
        raise ClientError(f"`{name}` is a choice among nothing; leave it out to mean any")
    return found


def moment(value: datetime | None) -> str | None:
    """With its time zone; the local one where it has none."""
    return None if value is None else value.astimezone().isoformat()
