"""References `${name.output}` from one job's spec to another job's outputs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Literal, get_args

Path = tuple[str | int, ...]

NAME = r"[A-Za-z0-9][A-Za-z0-9_-]{0,62}"
"""Names of jobs and models. No dot: it separates name and output."""
PROJECT = r"[a-z0-9][a-z0-9._-]{0,62}"
PROJECT_WORDS = "up to 63 of a-z, 0-9, `.`, `_`, `-`, the first a letter or digit"
DEFAULT_PROJECT = "default"
"""The project of whoever names none."""
REFERENCE = re.compile(r"\$\{(" + NAME + r")\.([a-z_]+)\}")

Kind = Literal["train", "sweep", "evaluate", "export", "encode", "compare"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""Of jobs."""
OUTPUTS: dict[str, tuple[str, ...]] = {
    "train": ("model", "valid_elbo", "epochs"),
    "sweep": ("sweep", "model", "best"),
    "evaluate": ("report", "elbo", "iwae"),
    "export": ("model",),
    "encode": ("encoding", "rows", "path"),
    "compare": ("comparison", "path"),
}
"""What a job of each kind leaves for others."""


def strings(value: Any, path: Path = ()) -> Iterator[tuple[Path, str]]:
    """Every string value inside, with where it is."""
    if isinstance(value, str):
        yield path, value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from strings(item, (*path, str(key)))
    elif isinstance(value, list | tuple):
        for index, item in enumerate(value):
            yield from strings(item, (*path, index))


def find(value: Any) -> list[tuple[Path, str, str]]:
    """(path, name, output) of every reference inside."""
    return [
        (path, match.group(1), match.group(2))
        for path, text in strings(value)
        for match in REFERENCE.finditer(text)
    ]


def malformed(value: Any) -> list[tuple[Path, str]]:
    """(path, text) of every string with a `${` that begins no reference."""
    return [(path, text) for path, text in strings(value) if "${" in REFERENCE.sub("", text)]


def substitute(value: Any, inputs: Mapping[str, Mapping[str, Any]]) -> Any:
    """A copy with each reference replaced by `inputs[name][output]`; a whole string keeps the output's type.

    Raises KeyError for a name or output that `inputs` does not have.
    """
    if isinstance(value, str):
        whole = REFERENCE.fullmatch(value)
        if whole:
            return inputs[whole.group(1)][whole.group(2)]
        return REFERENCE.sub(lambda match: str(inputs[match.group(1)][match.group(2)]), value)
    if isinstance(value, Mapping):
        return {key: substitute(item, inputs) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [substitute(item, inputs) for item in value]
    return value
