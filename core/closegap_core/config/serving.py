"""What is fixed in an exported encoder, and how a data set is encoded."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field, PositiveInt, model_validator

from closegap_core.config.base import Config, Seed
from closegap_core.config.refiner import Refiner, RefinerConfig


class RefineConfig(Config):
    """Steps of a refiner behind an encoder that was trained without one; each is a decoder pass a sample."""

    steps: Annotated[int, Field(ge=1, le=10_000)] = Field(
        8, description="Default of the file's `iterations` input, which counts these steps."
    )
    refiner: Refiner = RefinerConfig(
        kind="newton", learning_rate=0.66, momentum=0.9, anneal=2.75, trust=7.0, draws="signs"
    )


class ExportConfig(Config):
    """What is fixed inside an exported encoder."""

    iterations: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Default of the file's `iterations` input; absent: as trained."
    )
    refine: RefineConfig | None = Field(
        None,
        description="Refiner steps behind an encoder that has none of its own; absent: the encoder alone.",
    )
    samples: Annotated[int, Field(ge=1, le=64)] = Field(
        2, description="Antithetic noise draws shared by all rows; even."
    )
    elbo_samples: Annotated[int, Field(ge=1, le=1024)] = Field(16, description="Draws of the reported ELBO.")
    seed: Seed = 0
    rows: PositiveInt = Field(256, description="Held-out rows on which file and model are compared.")

    @model_validator(mode="after")
    def _samples_are_paired(self) -> ExportConfig:
        if self.samples % 2 or self.elbo_samples % 2:
            raise ValueError("samples and elbo_samples must be even: noise comes in antithetic pairs")
        return self

    @model_validator(mode="after")
    def _one_default(self) -> ExportConfig:
        if self.refine is not None and self.iterations is not None:
            raise ValueError(
                f"iterations is {self.iterations}, but with refine the file's input counts refiner steps, "
                f"{self.refine.steps} of them; leave iterations out"
            )
        return self


class EncodeConfig(Config):
    """How a data set is encoded."""

    iterations: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Absent: the file's default."
    )
    batch_size: PositiveInt = Field(256, description="Rows a session call.")
    shard_rows: PositiveInt = Field(4096, description="Rows a Parquet file.")
    threads: PositiveInt = Field(1, description="CPU threads of a session.")
    seed: Seed = Field(
        0, description="Of x ~ Bernoulli(row), drawn where the model was trained on such draws."
    )
