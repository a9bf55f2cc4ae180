"""Validation errors to problems: real paths, the value found, what is accepted, a guess at what was meant."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from closegap.errors import Problem
from closegap.specs.references import Path

Schema = Mapping[str, Any]


def problem(path: Path, value: Any, message: str, accepted: str = "") -> Problem:
    """A problem at a path, in both notations."""
    return Problem(dotted(path), pointer(path), value, message, accepted)


def dotted(path: Path) -> str:
    """`[1].space["inference.iterations"].choice[0]`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        elif re.fullmatch(r"[\w-]+", part):
            text += f".{part}" if text else part
        else:
            text += f'["{part}"]'
    return text


def pointer(path: Path) -> str:
    """RFC 6901."""
    return "".join("/" + str(part).replace("~", "~0").replace("/", "~1") for part in path)


def meant(word: Any, known: Iterable[str]) -> str:
    """` (did you mean …?)` or nothing."""
    close = difflib.get_close_matches(str(word), list(known), n=1)
    return f" (did you mean `{close[0]}`?)" if close else ""


def describe(error: ValidationError, value: Any, schema: Schema, base: Path = ()) -> list[Problem]:
    """Every error of a validation of `value` against the model of this JSON schema; `base` goes before paths."""
    # To pydantic a list whose items are wrong is also "too short after validation": no problem of its own.
    errors = [
        details
        for details in error.errors()
        if details["type"] != "too_short" or len(details["input"]) < details["ctx"]["min_length"]
    ]
    found = [_describe(details, value, schema, base) for details in errors]
    return list({(item.path, item.message): item for item in found}.values())


def _describe(details: ErrorDetails, value: Any, schema: Schema, base: Path) -> Problem:
    path = _real_path(details, value)
    found = _value_at(value, path)
    node = _node_at(schema, value, path)
    if details["type"] == "extra_forbidden":
        known = sorted(_node_at(schema, value, path[:-1]).get("properties", {}))
        message = f"unknown field{meant(path[-1], known)}"
        return problem((*base, *path), found, message, f"the fields {', '.join(known)}")
    if details["type"] == "missing":
        return problem((*base, *path), None, "this field is required", accepted(node))
    if details["type"] in ("union_tag_invalid", "union_tag_not_found"):
        tag = node["discriminator"]["propertyName"]
        tags = list(node["discriminator"]["mapping"])
        given = found.get(tag) if isinstance(found, Mapping) else found
        said = f"`{given}` is not one{meant(given, tags)}" if given is not None else f"`{tag}` is missing"
        return problem((*base, *path), found, said, f"{tag}: one of {', '.join(tags)}")
    message = details["msg"].removeprefix("Value error, ").removeprefix("Input s")
    message = f"s{message}" if details["msg"].startswith("Input s") else message
    shown = "" if isinstance(found, dict | list) else f"; found `{found}`"
    near = meant(found, _choices(node)) if isinstance(found, str) else ""
    return problem((*base, *path), found, f"{message}{shown}{near}", accepted(node))


def _real_path(details: ErrorDetails, value: Any) -> Path:
    """pydantic's location without the tags of unions, which are no part of the document."""
    path: list[str | int] = []
    for index, part in enumerate(details["loc"]):
        last = index == len(details["loc"]) - 1
        if (isinstance(value, dict) and part in value) or (isinstance(value, list) and isinstance(part, int)):
            path.append(part)
            value = _child(value, part)
        elif last and details["type"] == "missing":
            path.append(part)
    return tuple(path)


def _child(value: Any, part: str | int) -> Any:
    if isinstance(value, Mapping):
        return value.get(part)
    if isinstance(value, list | tuple) and isinstance(part, int) and part < len(value):
        return value[part]
    return None


def _value_at(value: Any, path: Path) -> Any:
    for part in path:
        value = _child(value, part)
    return value


def _node_at(schema: Schema, value: Any, path: Path) -> Schema:
    """The part of a JSON schema that governs a path, following references, tags and optional types."""
    node = _resolve(schema, schema, value)
    for part in path:
        value = _child(value, part)
        inner: Any = node.get("properties", {}).get(part)
        if inner is None:
            inner = node.get("items") if isinstance(part, int) else node.get("additionalProperties")
        node = _resolve(schema, inner if isinstance(inner, dict) else {}, value)
    return node


def _resolve(schema: Schema, node: Schema, value: Any) -> Schema:
    while True:
        if "$ref" in node:
            name = node["$ref"].rpartition("/")[2]
            node = {**schema["$defs"][name], **{key: item for key, item in node.items() if key != "$ref"}}
            continue
        if "discriminator" in node:
            tag = _child(value, node["discriminator"]["propertyName"]) if isinstance(value, dict) else value
            tag = node.get("assumed") if tag is None else tag
            target = node["discriminator"]["mapping"].get(tag) if isinstance(tag, str) else None
            if target is None:
                return node
            node = {"$ref": target}
            continue
        options = [option for option in node.get("anyOf", ()) if option.get("type") != "null"]
        # Words that stand for an object say less than the object does.
        full = [option for option in options if "enum" not in option]
        if len(full or options) != 1:
            return node
        [node] = full or options


def _choices(node: Schema) -> list[str]:
    return [str(item) for item in node.get("enum", [node["const"]] if "const" in node else [])]


def accepted(node: Schema) -> str:
    """What a part of a JSON schema accepts, in words; empty when it does not say."""
    if choices := _choices(node):
        return f"one of {', '.join(choices)}" if len(choices) > 1 else choices[0]
    if "discriminator" in node:
        tag = node["discriminator"]
        return f"{tag['propertyName']}: one of {', '.join(tag['mapping'])}"
    kind = node.get("type", "")
    bounds = [
        f"{sign} {_number(node[key])}"
        for key, sign in (
            ("minimum", ">="),
            ("exclusiveMinimum", ">"),
            ("maximum", "<="),
            ("exclusiveMaximum", "<"),
        )
        if key in node
    ]
    if kind == "object" and "properties" in node:
        return f"an object with {', '.join(sorted(node['properties']))}"
    if kind == "array":
        inner = accepted(node["items"]) if isinstance(node.get("items"), dict) else ""
        return f"a list, each {inner}" if inner else "a list"
    if kind == "string" and "pattern" in node:
        return node.get("description") or f"text that matches {node['pattern']}"
    return " ".join([kind, " and ".join(bounds)]).strip()


def _number(value: float) -> str:
    return (
        f"{value:g}"
        if abs(value) < 1e15
        else f"2^{value.bit_length() - 1}"
        if isinstance(value, int)
        else str(value)
    )
