"""What every section of a configuration is made of."""

from __future__ import annotations

import json
from dataclasses import dataclass
from types import UnionType
from typing import Annotated, Any, Union, final, get_args, get_origin

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PositiveInt,
)
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema

Seed = Annotated[int, Field(ge=0, lt=2**63, description="Seed of every random draw of this section.")]
Widths = tuple[PositiveInt, ...]


class Config(BaseModel):
    """Base: frozen, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


@final
@dataclass(frozen=True)
class Shorthand:
    """How a section that `field` tells apart may be written in fewer words; its JSON schema says so, too."""

    field: str
    word: bool = False
    assumed: str | None = None

    def complete(self, value: Any) -> Any:
        """The section in full."""
        if self.word and isinstance(value, str):
            return {self.field: value}
        if self.assumed is not None and isinstance(value, dict):
            return {self.field: self.assumed, **value}
        return value

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_before_validator_function(
            self.complete, handler(source), metadata={"words": self._words(source)}
        )

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> JsonSchemaValue:
        full = handler(schema)
        if handler.mode != "validation":
            return full
        if "oneOf" in full:  # to their classes tags have defaults, but here they are asked for
            assumed = full["discriminator"]["mapping"].get(self.assumed)
            full["oneOf"] = [
                item if item["$ref"] == assumed else {**item, "required": [self.field]}
                for item in full["oneOf"]
            ]
        if not self.word:
            return full
        ours: Any = schema
        while "words" not in ours.get("metadata", {}):  # a default, say, is around it
            ours = ours["schema"]
        return {"anyOf": [full, {"type": "string", "enum": ours["metadata"]["words"]}]}

    def _words(self, source: Any) -> list[str]:
        """Tags of the sections that can do without any other field."""
        sections = get_args(source) if get_origin(source) in (Union, UnionType) else (source,)
        return [
            tag
            for section in sections
            if not any(
                field.is_required() for name, field in section.model_fields.items() if name != self.field
            )
            for tag in get_args(section.model_fields[self.field].annotation)
        ]


def named(field: str) -> Shorthand:
    """Let a bare string stand for an object with only its discriminator: `bernoulli` is `{kind: bernoulli}`."""
    return Shorthand(field, word=True)


def assumed(field: str, tag: str) -> Shorthand:
    """Let an object without its discriminator be of the kind `tag`."""
    return Shorthand(field, assumed=tag)


def canonical(config: BaseModel | Any) -> str:
    """JSON with sorted keys and no spaces: equal configurations give equal text."""
    value = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
