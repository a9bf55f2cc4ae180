"""What can be submitted — mappings, configuration objects, lists of them, a YAML file — as the body of a request."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

from pydantic import BaseModel
from pydantic_core import PydanticSerializationError, to_jsonable_python

from closegap.client.errors import ClientError

OneSpec = Mapping[str, Any] | BaseModel
"""A spec as plain values, or one of the classes of `closegap.specs.kinds`; core's configuration may be in it."""
Specs = OneSpec | Sequence[OneSpec] | str | Path
"""One spec, a pipeline, or the path of a YAML file with either."""


@final
class Body(NamedTuple):
    """Bytes and their media type."""

    content: bytes
    media_type: str


def body(specs: Specs) -> Body:
    """As the service reads it. Raises ClientError: a file that cannot be read, a value that JSON does not have."""
    if isinstance(specs, str | Path):
        try:
            return Body(Path(specs).read_bytes(), "application/yaml")
        except OSError as error:
            raise ClientError(f"the spec {specs} cannot be read: {error.strerror}") from error
    value = plain(specs) if isinstance(specs, Mapping | BaseModel) else [plain(spec) for spec in specs]
    return Body(json.dumps(value).encode(), "application/json")


def of_kind(kind: str, spec: OneSpec | None, fields: Mapping[str, Any]) -> dict[str, Any]:
    """A spec of a kind from a spec, which may leave its kind out, and fields that win over it. Raises ClientError."""
    value = ({} if spec is None else plain(spec)) | plain(fields)
    found = value.setdefault("kind", kind)
    if found != kind:
        raise ClientError(f"this is a spec of kind `{found}`, not `{kind}`; `submit` takes every kind")
    return value


def plain(spec: OneSpec) -> dict[str, Any]:
    """JSON values. Raises ClientError, naming what JSON does not have."""
    try:
        found: Any = to_jsonable_python(spec, by_alias=True, inf_nan_mode="constants")
        json.dumps(found, allow_nan=False)
    except (PydanticSerializationError, ValueError, TypeError) as error:
        raise ClientError(f"the spec has a value that JSON does not have: {error}") from error
    if not isinstance(found, dict):
        raise ClientError(f"a spec is an object, not `{type(spec).__name__}`")
    return found
