"""The gate of an exported file in three figures: the worst of each sort of check, beside its limit."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple


class Figure(NamedTuple):
    """The worst error of one sort of check. `limit` is widened by the model's own error against float64."""

    name: str
    measured: float
    limit: float


def figures(folder: Path) -> tuple[Figure, ...]:
    """Of the bundle that an export left: one step, the median row after all iterations, and the ELBO."""
    parity = _read(folder)
    checks, limits = parity["checks"], parity["limits"]
    steps = [value for name, value in checks.items() if name.startswith("one step")]
    whole = [value for name, value in checks.items() if name.endswith(" iterations")]
    sorts = (
        ("one_step", steps, "max", limits["one_step"]),
        ("median_row", [value["posterior"] for value in whole], "median", limits["median_row"]),
        ("elbo", [value["elbo"] for value in whole], "max", limits["elbo"]),
    )
    widening = limits["times_the_model's_own_error"]
    return tuple(
        Figure(
            name,
            max(value[f"file_{which}"] for value in values),
            max([limit, *(widening * value[f"model_{which}"] for value in values)]),
        )
        for name, values, which, limit in sorts
        if values
    )


def flat(folder: Path) -> dict[str, Any]:
    """The figures by name: `one_step`, `one_step_limit`, …, `rows` compared, and `passed`, which a gate has to be."""
    found = figures(folder)
    named = {f.name: f.measured for f in found} | {f"{f.name}_limit": f.limit for f in found}
    return {**named, "rows": _read(folder)["rows"], "passed": all(f.measured <= f.limit for f in found)}


def _read(folder: Path) -> Mapping[str, Any]:
    value: dict[str, Any] = json.loads((folder / "parity.json").read_text(encoding="utf-8"))
    return value
