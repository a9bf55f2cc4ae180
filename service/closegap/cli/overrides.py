"""`--set`: one value of a spec file replaced, in a job (`path=…`, `job:path=…`) or in its scale (`scale.word=…`)."""

from __future__ import annotations

from typing import Any

import yaml

from closegap.cli.errors import UsageError
from closegap.specs import scales
from closegap.specs.problems import meant


def jobs(documents: list[Any]) -> list[Any]:
    """The jobs of all documents."""
    return [job for found in documents for job in (found if isinstance(found, list) else [found])]


def apply(documents: list[Any], text: str, scale: str) -> None:
    """Set one value in the freshly read documents of a spec file. Raises UsageError."""
    target, equals, value = text.partition("=")
    if not equals or not target.rpartition(":")[2]:
        raise UsageError(f"--set {text}: write path=value, or job:path=value in a pipeline")
    try:
        parsed = yaml.safe_load(value)
    except yaml.YAMLError as error:
        raise UsageError(f"--set {text}: {value!r} is not a YAML value") from error
    if len(documents) == 1 and scales.is_scaled(documents[0]):
        if target.startswith(
            "scale."
        ):  # no job has a field `scale` but one that compares; that is NAME:scale
            _assign(_values(documents[0], scale, text), target.split(".")[1:], parsed, text)
            return
        pipeline = documents[0].get("pipeline")
        documents = [pipeline if isinstance(pipeline, list) else []]
    name, colon, path = target.rpartition(":")
    for job in _chosen(jobs(documents), name if colon else None, path, value, text):
        _assign(job, path.split("."), parsed, text)


def _values(file: Any, scale: str, text: str) -> Any:
    """The values of a scale of a file, which must have the one that is set."""
    values = (file.get("scales") or {}).get(scale)
    word = text.partition("=")[0].split(".")[1]
    if not isinstance(values, dict) or word not in values:
        known = ", ".join(values) if isinstance(values, dict) else "nothing"
        near = meant(word, values) if isinstance(values, dict) else ""
        raise UsageError(f"--set {text}: scale `{scale}` has no value `{word}`{near}; it has {known}")
    return values


def _chosen(found: list[Any], name: str | None, path: str, value: str, text: str) -> list[Any]:
    """The jobs that an override is about."""
    chosen = [job for job in found if isinstance(job, dict) and (name is None or job.get("name") == name)]
    if name is None and len(found) > 1:
        raise UsageError(f"--set {text}: the pipeline has {len(found)} jobs; say which: NAME:{path}={value}")
    if not chosen:
        names = ", ".join(str(job.get("name")) for job in found if isinstance(job, dict))
        raise UsageError(f"--set {text}: no job is called {name!r}; the pipeline has {names}")
    return chosen


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
