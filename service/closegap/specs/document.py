"""YAML text to plain values: duplicate keys and runaway aliases are refused, errors say line and column."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any, final

import yaml

from closegap.errors import Problem, SpecError

LARGEST_TEXT = 1 << 20
LARGEST_VALUE = 100_000
"""Characters of a document, and values in it after aliases: a spec is far smaller, a bomb far larger."""


@final
class _Loader(yaml.SafeLoader):
    """PyYAML's safe loader lets a repeated key win silently; this one does not."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen: set[Hashable] = set()
        for key_node, _ in node.value:
            if key_node.tag == "tag:yaml.org,2002:merge":
                continue
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(
                    None, None, "a list or an object is no key; accepted: text", key_node.start_mark
                )
            if key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"the key `{key}` is given twice", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read(text: str) -> list[Any]:
    """The documents of a YAML text, empty ones left out, aliases written out. Raises SpecError with line and column."""
    if len(text) > LARGEST_TEXT:
        raise SpecError(
            [Problem("", "", None, f"{len(text)} characters are too many", f"at most {LARGEST_TEXT}")]
        )
    try:
        # S506 does not apply: _Loader is a SafeLoader.
        documents = [value for value in yaml.load_all(text, Loader=_Loader) if value is not None]
    except yaml.MarkedYAMLError as error:
        raise SpecError([_syntax_problem(error)]) from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise SpecError([Problem("", "", None, f"not valid YAML: {error}")]) from error
    _refuse_runaway(documents)
    return [_unshared(value) for value in documents]


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    mark = error.problem_mark or error.context_mark
    place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
    context = f" ({error.context})" if error.context else ""
    return Problem("", "", None, f"not valid YAML: {place}{error.problem or error}{context}")


def _refuse_runaway(documents: list[Any]) -> None:
    """Count values as they would be written out, aliases expanded; stops at the limit, so loops end too."""
    stack, count = list(documents), 0
    while stack:
        value = stack.pop()
        count += 1
        if count > LARGEST_VALUE:
            message = "the aliases of the document expand without end"
            raise SpecError([Problem("", "", None, message, f"at most {LARGEST_VALUE} values")])
        if isinstance(value, dict):
            stack.extend(value.values())
        elif isinstance(value, list):
            stack.extend(value)


def _unshared(value: Any) -> Any:
    """A copy in which each alias is a value of its own: what changes one place changes no other."""
    if isinstance(value, dict):
        return {key: _unshared(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_unshared(item) for item in value]
    return value
