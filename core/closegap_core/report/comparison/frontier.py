"""The frontier of an evaluation: for each kind of refiner the line at the best of the rates that were tried."""

from __future__ import annotations

from typing import Any

from closegap_core.report.comparison.inputs import ComparisonError, Entry

Line = dict[str, Any]
TITLES = {
    "model": "the model's own iterations",
    "sgd": "SGD",
    "rmsprop": "RMSProp",
    "adam": "Adam",
    "newton": "Newton",
}
"""Of lines that are not called by their kind."""


def lines(entry: Entry) -> dict[tuple[str, str], Line]:
    """By (model or kind of refiner, start), in the order in which they were measured; best: by its last ELBO."""
    found: dict[tuple[str, str], Line] = {}
    for line in entry.part("frontier")["lines"]:
        refiner = line["refiner"]
        key = ("model", "prior") if refiner is None else (str(refiner["kind"]), str(line["start"]))
        if key not in found or _last(line) > _last(found[key]):
            found[key] = line
    return found


def name(key: tuple[str, str], line: Line) -> str:
    """What a line is called."""
    kind, start = key
    if kind == "model":
        return TITLES[kind]
    begun = "the prior" if start == "prior" else "the model" if start == "model" else f"iteration {start}"
    return f"{TITLES.get(kind, kind)}, rate {line['refiner']['learning_rate']:g}, from {begun}"


def point(entry: Entry) -> dict[str, Any]:
    """The point that an entry is about. Raises ComparisonError."""
    asked = entry.config.point
    if asked is None:
        raise ComparisonError(
            f"`{entry.label}` shows a figure of the frontier, but does not say of which `point`"
        )
    key = (asked.line, "prior" if asked.line == "model" else str(asked.start))
    known = lines(entry)
    if key not in known:
        tried = ", ".join(f"{kind} from {start}" for kind, start in known)
        raise ComparisonError(
            f"the frontier of `{entry.label}` has no {key[0]} from {key[1]}; it has {tried}"
        )
    points: dict[int, dict[str, Any]] = {found["passes"]: found for found in known[key]["points"]}
    if asked.passes not in points:
        raise ComparisonError(
            f"the frontier of `{entry.label}` was not measured after {asked.passes} passes; "
            f"it was after {', '.join(map(str, points))}"
        )
    return points[asked.passes]


def _last(line: Line) -> float:
    return float(line["points"][-1]["elbo"])
