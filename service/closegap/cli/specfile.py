"""A spec as it was given: its text, overrides from the command line, and the line of each problem."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, final

import yaml

from closegap.cli import overrides
from closegap.cli.errors import InvalidSpec, UsageError
from closegap.errors import Problem, SpecError
from closegap.specs import document, scales

if TYPE_CHECKING:
    from closegap.specs.spec import Spec


@final
@dataclass(frozen=True)
class SpecFile:
    """The text of a spec or pipeline and what to call it in messages."""

    name: str
    text: str
    overrides: tuple[str, ...] = ()
    """`path=value`, `job:path=value` or `scale.word=value`; the value is YAML."""
    scale: str | None = None
    """Of a file with scales; absent: `full`."""

    @property
    def title(self) -> str | None:
        """Of a file with scales, once it is known to be valid."""
        documents = document.read(self.text)
        return documents[0]["title"] if len(documents) == 1 and scales.is_scaled(documents[0]) else None

    def parse(self) -> list[Spec]:
        """The specs, overrides applied. Raises InvalidSpec with every problem, UsageError for a wrong override."""
        from closegap.specs import spec

        try:
            documents = document.read(self.text)
            for override in self.overrides:
                overrides.apply(documents, override, self.scale or scales.DEFAULT)
            value = documents[0] if len(documents) == 1 else overrides.jobs(documents)
            return spec.parse(value, self.scale) if documents else spec.parse(self.text)
        except SpecError as error:
            raise self.invalid(error.problems) from error

    def invalid(self, problems: tuple[Problem, ...]) -> InvalidSpec:
        """The error that names this file, and a line for each problem."""
        return InvalidSpec(self.name, [(problem, self._line(problem)) for problem in problems])

    def _line(self, problem: Problem) -> int | None:
        syntax = re.match(r"not valid YAML: line (\d+)", problem.message)
        if syntax:
            return int(syntax[1])
        return _line_of(self.text, problem.pointer) if problem.pointer else None


def read(argument: str, given: list[str] | None = None, scale: str | None = None) -> SpecFile:
    """The spec file of an argument; `-` is standard input. Raises UsageError when it cannot be read."""
    if argument == "-":
        return SpecFile("standard input", sys.stdin.read(), tuple(given or ()), scale)
    try:
        text = Path(argument).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read the spec {argument}: {reason}") from error
    return SpecFile(argument, text, tuple(given or ()), scale)


def _line_of(text: str, pointer: str) -> int | None:
    """Line of the value at a JSON pointer, or of the nearest thing around it; None for what the text does not have."""
    try:
        roots = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError:
        return None
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    jobs = [job for node in roots for job in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
    pipeline = _child_node(roots[0], "pipeline") if len(roots) == 1 else None
    if pipeline and parts and parts[0].isdecimal():
        node = pipeline[1]
    elif len(roots) == 1 and not isinstance(roots[0], yaml.SequenceNode):
        node = roots[0]
    elif parts and parts[0].isdecimal() and int(parts[0]) < len(jobs):
        node = jobs[int(parts.pop(0))]
    else:
        return None
    line: int = node.start_mark.line
    for part in parts:
        child = _child_node(node, part)
        if child is None:
            break
        line, node = child
    return line + 1


def _child_node(node: yaml.Node, part: str) -> tuple[int, yaml.Node] | None:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if key.value == part:
                return key.start_mark.line, value
    if isinstance(node, yaml.SequenceNode) and part.isdecimal() and int(part) < len(node.value):
        item = node.value[int(part)]
        return item.start_mark.line, item
    return None
