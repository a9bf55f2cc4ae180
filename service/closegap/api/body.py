"""What comes in: JSON or YAML as plain values, nothing else; specs that a caller may name."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any

from fastapi import Request

from closegap.api.problem import Answer
from closegap.errors import Problem, SpecError
from closegap.specs import document, references, spec
from closegap.specs.kinds import Spec
from closegap.specs.problems import problem
from closegap.specs.references import Path
from closegap.storage.registry import Registry

JSON_TYPES = ("application/json",)
YAML_TYPES = ("application/yaml", "application/x-yaml", "text/yaml")
DEEPEST = 100
"""Levels of a body: whoever went down into many more would not come back."""
_ABBREVIATED = re.compile(r"sha256:[0-9a-f]{0,63}|[0-9a-f]{6,63}")


async def read(request: Request) -> tuple[bytes, str]:
    """The body, whose length `exchange` bounds, and its media type."""
    return await request.body(), request.headers.get("content-type", "").partition(";")[0].strip().lower()


def value(content: bytes, media_type: str) -> Any:
    """The value of a JSON or YAML body; several YAML documents are a list.

    Raises Answer 400 (malformed), 415 (another type), SpecError (YAML that is not accepted).
    """
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Answer(400, "malformed_text", f"the body is not UTF-8: {error}") from error
    if media_type in JSON_TYPES:
        found = _json(text)
    elif media_type in YAML_TYPES:
        documents = document.read(text)
        found = documents[0] if len(documents) == 1 else [job for part in documents for job in _listed(part)]
    else:
        accepted = ", ".join((*JSON_TYPES, *YAML_TYPES))
        raise Answer(
            415, "unsupported_media_type", f"the type `{media_type[:100]}` is not accepted: {accepted}"
        )
    if problems := _strange(found):
        raise SpecError(problems)
    return found


def specs(content: bytes, media_type: str, scale: str | None, registry: Registry | None) -> list[Spec]:
    """The specs of a body. With a registry, models must be named as it or a whole digest names them.

    Raises Answer, SpecError with every problem.
    """
    found = value(content, media_type)
    if not isinstance(found, Mapping | list):
        raise SpecError([problem((), found, "a spec is an object, or a list of them", "kind: …")])
    parsed = spec.parse(found, scale)
    if registry is not None and (problems := _abbreviated(parsed, registry)):
        raise SpecError(problems)
    return parsed


def _listed(part: Any) -> list[Any]:
    return part if isinstance(part, list) else [part]


def _json(text: str) -> Any:
    try:
        return json.loads(text, object_pairs_hook=_once, parse_constant=_no_number, parse_float=_finite)
    except json.JSONDecodeError as error:
        place = f"line {error.lineno}, column {error.colno}"
        raise Answer(400, "malformed_json", f"the body is not JSON: {error.msg} at {place}") from error
    except (ValueError, RecursionError) as error:
        raise Answer(400, "malformed_json", f"the body is not accepted as JSON: {error}") from error


def _once(pairs: Sequence[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the key {twice[:50]!r} is given twice")
    return found


def _no_number(word: str) -> Any:
    raise ValueError(f"{word} is no JSON")


def _finite(text: str) -> float:
    if not math.isfinite(number := float(text)):
        raise ValueError(f"{text[:50]} is too large a number")
    return number


def _strange(found: Any) -> list[Problem]:
    """What JSON could not say: dates, sets, bytes and infinities of YAML; half characters; too many levels."""
    problems: list[Problem] = []
    stack: list[tuple[Path, Any]] = [((), found)]
    while stack:
        path, item = stack.pop()
        if len(path) > DEEPEST:
            return [problem((), None, "it is nested too deeply", f"at most {DEEPEST} levels")]
        if isinstance(item, Mapping):
            for key, inner in item.items():
                if not isinstance(key, str) or not _writable(key):
                    problems.append(
                        problem(path, str(type(key).__name__), "a key is no text", "text for keys")
                    )
                else:
                    stack.append(((*path, key), inner))
        elif isinstance(item, list):
            stack += [((*path, index), inner) for index, inner in enumerate(item)]
        elif isinstance(item, str):
            if not _writable(item):
                problems.append(problem(path, None, "text with half of a surrogate pair", "Unicode text"))
        elif isinstance(item, float) and not math.isfinite(item):
            problems.append(problem(path, str(item), f"`{item}` is no finite number", "a finite number"))
        elif item is not None and not isinstance(item, bool | int | float):
            kind = type(item).__name__
            problems.append(problem(path, kind, f"a {kind} is nothing that JSON has", "text, in quotes"))
    return problems


def _writable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _abbreviated(parsed: Sequence[Spec], registry: Registry) -> list[Problem]:
    """Beginnings of digests, by which a caller could find bundles of other projects. A whole digest one must know."""
    found: list[Problem] = []
    for index, item in enumerate(parsed):
        base = (index,) if len(parsed) > 1 else ()
        for path, text in references.strings(spec.dump(item)):
            named = path[-1:] in (("model",), ("decoder",), ("report",)) and _ABBREVIATED.fullmatch(text)
            if named and text not in registry.names():
                message = f"`{text}` begins a digest, which needs a token for all projects"
                found.append(problem((*base, *path), text, message, "a whole digest, or a registered name"))
    return found
