"""What must hold between the jobs of one submission: names, needs, references, no cycles."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from closegap.errors import Problem
from closegap.specs import references
from closegap.specs.problems import meant, problem
from closegap.specs.references import OUTPUTS, Path

if TYPE_CHECKING:
    from closegap.specs.spec import Spec

LARGEST = 1000
"""Jobs in one submission."""


def uses(spec: Spec) -> dict[str, list[tuple[Path, str | None]]]:
    """Each name the spec needs, with (path, output) of every mention; output None is `needs` itself."""
    found: dict[str, list[tuple[Path, str | None]]] = {}
    for index, name in enumerate(spec.needs):
        found.setdefault(name, []).append((("needs", index), None))
    # Most specs have no reference: looking for one in a text is quicker than in a tree.
    value = (
        spec.model_dump(mode="json", by_alias=True) if "${" in spec.model_dump_json(by_alias=True) else None
    )
    for path, name, output in references.find(value):
        found.setdefault(name, []).append((path, output))
    return found


def check(specs: Sequence[Spec]) -> list[Problem]:
    """Problems that show without the store: a name that no spec has may still be an existing job's id."""
    if len(specs) > LARGEST:
        return [problem((), None, f"{len(specs)} jobs in one submission", f"at most {LARGEST}")]
    kinds = {spec.name: spec.kind for spec in specs if spec.name}
    problems = _repeated(specs)
    for index, spec in enumerate(specs):
        problems += outputs(spec, kinds, _base(specs, index))
    return problems or _cycles(specs)


def outputs(spec: Spec, kinds: Mapping[str, str], base: Path) -> list[Problem]:
    """References to outputs that a job of that kind does not have; names not in `kinds` are left alone."""
    return [
        problem((*base, *path), f"${{{name}.{output}}}", message, f"one of {', '.join(OUTPUTS[kinds[name]])}")
        for name, mentions in uses(spec).items()
        if name in kinds
        for path, output in mentions
        if output is not None and output not in OUTPUTS[kinds[name]]
        for message in [
            f"a job of kind {kinds[name]} has no output `{output}`{meant(output, OUTPUTS[kinds[name]])}"
        ]
    ]


def unknown(specs: Sequence[Spec], ids: Mapping[str, str], queue: bool = True) -> list[Problem]:
    """Problems with names outside the submission, given the ids that exist with their kinds.

    queue: whether there is one, whose jobs could have been named.
    """
    names = {spec.name for spec in specs if spec.name}
    problems: list[Problem] = []
    for index, spec in enumerate(specs):
        base = _base(specs, index)
        problems += [
            problem(
                (*base, *path), name, f"nothing is called `{name}`{meant(name, names)}", _known(names, queue)
            )
            for name, mentions in uses(spec).items()
            if name not in names and name not in ids
            for path, _ in mentions
        ]
        problems += outputs(spec, {name: kind for name, kind in ids.items() if name not in names}, base)
    return problems


def outside(specs: Sequence[Spec]) -> list[str]:
    """Names that are needed but not in the submission: they must be ids of existing jobs."""
    names = {spec.name for spec in specs if spec.name}
    return sorted({name for spec in specs for name in uses(spec)} - names)


def _known(names: set[str], queue: bool) -> str:
    pipeline = [f"a name in this pipeline ({', '.join(sorted(names))})"] if names else []
    existing = ["the id of an existing job"] if queue else []
    return " or ".join(pipeline + existing) or "a name in the same pipeline"


def _base(specs: Sequence[Spec], index: int) -> Path:
    return (index,) if len(specs) > 1 else ()


def _repeated(specs: Sequence[Spec]) -> list[Problem]:
    first: dict[str, int] = {}
    problems = []
    for index, spec in enumerate(specs):
        if spec.name and first.setdefault(spec.name, index) != index:
            message = f"`{spec.name}` is already the name of spec [{first[spec.name]}]"
            problems.append(
                problem((index, "name"), spec.name, message, "names that differ within a pipeline")
            )
    return problems


def _cycles(specs: Sequence[Spec]) -> list[Problem]:
    graph = {spec.name: list(uses(spec)) for spec in specs if spec.name}
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        ring = [str(name) for name in reversed(error.args[1])]
        place = next(index for index, spec in enumerate(specs) if spec.name == ring[0])
        message = f"the needs go in a circle: {' needs '.join(ring)}"
        return [problem((*_base(specs, place), "needs"), ring[0], message, "needs without a circle")]
    return []
