"""A spec file with scales: one pipeline whose values are chosen by name, such as `full` and `small`.

title: what it shows
scales:
  full: {epochs: 1500, data: {source: mnist}}
  small: {epochs: 20, data: {source: mnist-5k}}
pipeline:
  - {kind: train, name: train, data: "${scale.data}", training: {epochs: "${scale.epochs}"}, …}

`${scale.name}` stands for the name of the scale that was chosen.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, final

from pydantic import Field, ValidationError

from closegap.errors import Problem, SpecError
from closegap.specs import references
from closegap.specs.problems import describe, meant, problem
from closegap.specs.references import Path
from closegap_core.config import Config

DEFAULT = "full"
CHOSEN = "name"
"""The value that every scale has: what it is called."""
WORD = r"[A-Za-z_][A-Za-z0-9_]*"
_VALUE = re.compile(rf"\$\{{scale\.({WORD})\}}")
_Word = Annotated[str, Field(pattern=f"^{WORD}$")]


@final
class ScaledFile(Config):
    """What such a file holds."""

    title: Annotated[str, Field(min_length=1)]
    scales: dict[_Word, dict[_Word, Any]] = Field(min_length=1, description="Values by name, by scale.")
    pipeline: tuple[Any, ...] = Field(min_length=1, description="Specs, with `${scale.…}` for values.")


def is_scaled(document: Any) -> bool:
    """Whether a document is such a file, and not a spec or a list of them."""
    return (
        isinstance(document, Mapping)
        and "kind" not in document
        and bool({"scales", "pipeline"} & set(document))
    )


def filled(documents: Sequence[Any], scale: str | None = None) -> list[Any]:
    """The documents of a spec file; one with scales becomes the list of its specs, at `scale` (absent: `full`).

    Raises SpecError: a file that is not as above, no such scale, a value that the scale does not have, a scale asked
    for where there are none.
    """
    if len(documents) == 1 and is_scaled(documents[0]):
        return [_specs(_checked(documents[0]), scale or DEFAULT)]
    if scale is not None:
        accepted = "a file with title, scales and pipeline, or no scale"
        raise SpecError([problem((), scale, f"there is no scale `{scale}`: this file has none", accepted)])
    return list(documents)


def _checked(document: Mapping[str, Any]) -> ScaledFile:
    try:
        file = ScaledFile.model_validate(document)
    except ValidationError as error:
        raise SpecError(describe(error, document, ScaledFile.model_json_schema())) from error
    if problems := [*_reserved(file), *_uneven(file)]:
        raise SpecError(problems)
    return file


def _reserved(file: ScaledFile) -> list[Problem]:
    return [
        problem(("scales", scale, CHOSEN), values[CHOSEN], "the name is the scale's own", "another word")
        for scale, values in file.scales.items()
        if CHOSEN in values
    ]


def _uneven(file: ScaledFile) -> list[Problem]:
    """Every scale must have every value, or one of them could not be run."""
    known = {word for values in file.scales.values() for word in values}
    return [
        problem(
            ("scales", scale),
            sorted(values),
            f"`{word}` is missing, which another scale has",
            f"a value for {word}",
        )
        for scale, values in file.scales.items()
        for word in sorted(known - set(values))
    ]


def _specs(file: ScaledFile, scale: str) -> list[Any]:
    if scale not in file.scales:
        message = f"there is no scale `{scale}`{meant(scale, file.scales)}"
        raise SpecError([problem(("scales",), scale, message, f"one of {', '.join(file.scales)}")])
    values = {**file.scales[scale], CHOSEN: scale}
    pipeline = list(file.pipeline)
    if problems := _unknown(pipeline, values):
        raise SpecError(problems)
    return [_substituted(item, values) for item in pipeline]


def _unknown(pipeline: list[Any], values: Mapping[str, Any]) -> list[Problem]:
    found: list[tuple[Path, str]] = [
        (path, match.group(1))
        for path, text in references.strings(pipeline)
        for match in _VALUE.finditer(text)
    ]
    return [
        problem(
            path, f"${{scale.{word}}}", f"the scales have no value `{word}`{meant(word, values)}",
            f"one of {', '.join(values)}",
        )
        for path, word in found
        if word not in values
    ]  # fmt: skip


def _substituted(value: Any, values: Mapping[str, Any]) -> Any:
    """A copy with each `${scale.…}` replaced; a whole string takes the value's type."""
    if isinstance(value, str):
        whole = _VALUE.fullmatch(value)
        return (
            values[whole.group(1)] if whole else _VALUE.sub(lambda match: str(values[match.group(1)]), value)
        )
    if isinstance(value, Mapping):
        return {key: _substituted(item, values) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_substituted(item, values) for item in value]
    return value
