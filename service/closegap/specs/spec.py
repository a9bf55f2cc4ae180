"""Job specs: read from YAML or values with every error at once, normalised, digested, resolved, described."""

from __future__ import annotations

import copy
import functools
import hashlib
from collections.abc import Mapping, Sequence
from importlib import resources
from itertools import count
from typing import Any

from pydantic import ValidationError

from closegap.errors import NotFound, Problem, SpecError
from closegap.specs import document, pipeline, references, scales, space
from closegap.specs.kinds import (
    SPECS,
    CompareSpec,
    EncodeSpec,
    EvaluateSpec,
    ExportSpec,
    JobSpec,
    Spec,
    SweepSpec,
    TrainSpec,
)
from closegap.specs.problems import describe, meant, problem
from closegap.specs.references import Path
from closegap_core.config import canonical

__all__ = [
    "SPECS",
    "CompareSpec",
    "EncodeSpec",
    "EvaluateSpec",
    "ExportSpec",
    "JobSpec",
    "Spec",
    "SweepSpec",
    "TrainSpec",
    "digest",
    "dump",
    "example",
    "load",
    "named",
    "parse",
    "resolve",
    "schema",
]


def parse(source: str | Mapping[str, Any] | list[Any], scale: str | None = None) -> list[Spec]:
    """One spec, or a list of them (a pipeline; also as several documents, or at a scale: `closegap.specs.scales`).

    Raises SpecError, with every problem at once.
    """
    documents = scales.filled(document.read(source) if isinstance(source, str) else [source], scale)
    single = len(documents) == 1 and not isinstance(documents[0], list)
    values = [spec for found in documents for spec in (found if isinstance(found, list) else [found])]
    if not values:
        raise SpecError([Problem("", "", None, "there is no spec", f"kind: one of {', '.join(SPECS)}")])
    specs: list[Spec] = []
    problems: list[Problem] = []
    for index, value in enumerate(values):
        spec, found = _build(value, () if single else (index,))
        specs += [spec] if spec else []
        problems += found
    if not problems:
        problems = pipeline.check(specs)
    if problems:
        raise SpecError(problems)
    return specs


def load(value: Mapping[str, Any]) -> Spec:
    """The spec of a job record, or one whose references were resolved. Raises SpecError."""
    return parse(value)[0]


def resolve(spec: Spec, inputs: Mapping[str, Mapping[str, Any]]) -> Spec:
    """The spec with each `${name.output}` replaced by `inputs[name][output]`. Raises SpecError."""
    value = dump(spec)
    missing = [
        problem(path, f"${{{name}.{output}}}", f"`{name}` has left no output `{output}`")
        for path, name, output in references.find(value)
        if output not in inputs.get(name, {})
    ]
    if missing:
        raise SpecError(missing)
    return load(references.substitute(value, inputs))


def dump(spec: Spec) -> dict[str, Any]:
    """The normalised spec, every default written out, as plain JSON values."""
    return spec.model_dump(mode="json", by_alias=True)


def named(specs: Sequence[Spec]) -> dict[str, Spec]:
    """Each spec by its name; one that has none by its kind and its place, or the next number that is nobody's."""
    taken = {spec.name for spec in specs}
    found: dict[str, Spec] = {}
    for place, spec in enumerate(specs, 1):
        free = (name for number in count(place) if (name := f"{spec.kind}-{number}") not in taken)
        name = spec.name or next(free)
        found[name] = spec
        taken.add(name)
    return found


def digest(spec: Spec) -> str:
    """sha256 (hex) of the normalised spec: equal specs, however written, have equal digests."""
    return hashlib.sha256(canonical(dump(spec)).encode()).hexdigest()


def schema(kind: str) -> dict[str, Any]:
    """JSON schema of a kind. Raises NotFound."""
    if kind not in SPECS:
        raise NotFound(f"`{kind}` is no kind of job{meant(kind, SPECS)}; accepted: {', '.join(SPECS)}")
    return copy.deepcopy(_schema(kind))


def example(kind: str) -> str:
    """A commented spec of a kind, ready to run. Raises NotFound."""
    schema(kind)
    return resources.files("closegap.specs").joinpath("examples", f"{kind}.yaml").read_text(encoding="utf-8")


@functools.cache
def _schema(kind: str) -> dict[str, Any]:
    """Made once: it takes longer than reading a spec does."""
    found = SPECS[kind].model_json_schema(by_alias=True)
    return found | {"required": ["kind", *found.get("required", [])]}  # to the class it has a default


def _build(value: Any, base: Path) -> tuple[Spec | None, list[Problem]]:
    kinds = f"one of {', '.join(SPECS)}"
    if not isinstance(value, Mapping):
        return None, [problem(base, value, f"a spec is an object, not `{value}`", f"kind: {kinds}, …")]
    kind = value.get("kind")
    if not isinstance(kind, str) or kind not in SPECS:
        said = "this field is required" if kind is None else f"`{kind}` is no kind of job{meant(kind, SPECS)}"
        return None, [problem((*base, "kind"), kind, said, kinds)]
    problems = [
        problem((*base, *path), text, "`${` begins no reference", "${name.output}")
        for path, text in references.malformed(value)
    ]
    try:
        spec = SPECS[kind].model_validate(value)
    except ValidationError as error:
        known = {item.path for item in problems}
        found = describe(error, value, _schema(kind), base)
        return None, problems + [item for item in found if item.path not in known]
    if isinstance(spec, SweepSpec):
        grid = spec.search.algorithm == "grid"
        problems += space.check(spec.train, spec.space, grid, (*base, "space"))
    return spec, problems
