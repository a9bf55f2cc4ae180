"""What every section of a configuration is made of."""

from __future__ import annotations

import json
from typing import Annotated, Any

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PositiveInt

Seed = Annotated[int, Field(ge=0, lt=2**63, description="Seed of every random draw of this section.")]
Widths = tuple[PositiveInt, ...]


class Config(BaseModel):
    """Base: frozen, unknown fields refused."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def named(field: str) -> BeforeValidator:
    """Let a bare string stand for an object with only its discriminator: `bernoulli` is `{kind: bernoulli}`."""
    return BeforeValidator(lambda value: {field: value} if isinstance(value, str) else value)


def assumed(field: str, tag: str) -> BeforeValidator:
    """Let an object without its discriminator be of the kind `tag`."""

    def complete(value: Any) -> Any:
        return {field: tag, **value} if isinstance(value, dict) else value

    return BeforeValidator(complete)


def canonical(config: BaseModel | Any) -> str:
    """JSON with sorted keys and no spaces: equal configurations give equal text."""
    value = config.model_dump(mode="json") if isinstance(config, BaseModel) else config
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
