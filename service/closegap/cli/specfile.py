"""A spec as it was given: its text, overrides from the command line, and the line of each problem."""

from __future__ import annotations

import re
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, final

import yaml

from closegap import document
from closegap.cli.errors import InvalidSpec, UsageError
from closegap.errors import Problem, SpecError

if TYPE_CHECKING:
    from closegap.spec import Spec


@final
@dataclass(frozen=True)
class SpecFile:
    """The text of a spec or pipeline and what to call it in messages."""

    name: str
    text: str
    overrides: tuple[str, ...] = ()
    """`path=value` or `job:path=value`; the value is YAML."""

    def parse(self) -> list[Spec]:
        """The specs, overrides applied. Raises InvalidSpec with every problem, UsageError for a wrong override."""
        from closegap import spec

        try:
            documents = document.read(self.text)
            if self.overrides:
                jobs = [job for found in documents for job in (found if isinstance(found, list) else [found])]
                for override in self.overrides:
                    _override(jobs, override)
            value = documents[0] if len(documents) == 1 else _joined(documents)
            return spec.parse(value) if documents else spec.parse(self.text)
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


def read(argument: str, overrides: list[str] | None = None) -> SpecFile:
    """The spec file of an argument; `-` is standard input. Raises UsageError when it cannot be read."""
    if argument == "-":
        return SpecFile("standard input", sys.stdin.read(), tuple(overrides or ()))
    try:
        text = Path(argument).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not UTF-8 text"
        raise UsageError(f"cannot read the spec {argument}: {reason}") from error
    return SpecFile(argument, text, tuple(overrides or ()))


def _joined(documents: list[Any]) -> list[Any]:
    return [job for found in documents for job in (found if isinstance(found, list) else [found])]


def _override(jobs: list[Any], text: str) -> None:
    """Set one value in the freshly read documents."""
    target, equals, value = text.partition("=")
    name, colon, path = target.rpartition(":")
    if not equals or not path:
        raise UsageError(f"--set {text}: write path=value, or job:path=value in a pipeline")
    chosen = [job for job in jobs if isinstance(job, dict) and (not colon or job.get("name") == name)]
    if not colon and len(jobs) > 1:
        raise UsageError(f"--set {text}: the pipeline has {len(jobs)} jobs; say which: NAME:{path}={value}")
    if not chosen:
        names = ", ".join(str(job.get("name")) for job in jobs if isinstance(job, dict))
        raise UsageError(f"--set {text}: no job is called {name!r}; the pipeline has {names}")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: {value!r} is not a YAML value") from error
    for job in chosen:
        _assign(job, path.split("."), parsed, text)


def _assign(node: Any, parts: list[str], value: Any, text: str) -> None:
    for part in parts[:-1]:
        node = _step(node, part, text)
    key = _key(node, parts[-1], text)
    node[key] = value


def _step(node: Any, part: str, text: str) -> Any:
    key = _key(node, part, text)
    if isinstance(node, dict) and node.get(key) is None:
        node[key] = {}
    return node[key]


def _key(node: Any, part: str, text: str) -> Any:
    """The key or index that `part` names in `node`."""
    if isinstance(node, dict):
        return part
    if isinstance(node, list):
        if part.isdecimal() and int(part) < len(node):
            return int(part)
        raise UsageError(f"--set {text}: {part!r} is no index of a list of {len(node)}")
    raise UsageError(f"--set {text}: there is nothing below {node!r} to set {part!r} in")


def _line_of(text: str, pointer: str) -> int | None:
    """Line of the value at a JSON pointer, or of the nearest thing around it; None for what the text does not have."""
    try:
        roots = [node for node in yaml.compose_all(text, Loader=yaml.SafeLoader) if node is not None]
    except yaml.YAMLError:
        return None
    parts = [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]
    jobs = [job for node in roots for job in (node.value if isinstance(node, yaml.SequenceNode) else [node])]
    if len(roots) == 1 and not isinstance(roots[0], yaml.SequenceNode):
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
