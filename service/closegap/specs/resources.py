"""What an attempt needs of a machine, and how many attempts a job has."""

from __future__ import annotations

from typing import Annotated, final

from pydantic import Field

from closegap_core.config import Config

Retries = Annotated[int, Field(ge=0, le=100)]


@final
class RetryBudgets(Config):
    """How often a job is run again after a failure of each class; null is without limit."""

    user: Retries | None = 0
    numerical: Retries | None = 0
    infrastructure: Retries | None = 3
    preempted: Retries | None = None


class Resources(Config):
    """What one attempt needs: `workers` ranks of `cpus` and `gpus` each."""

    workers: Annotated[int, Field(ge=0, le=1)] = Field(
        1, description="0 runs inside the attempt, without Ray."
    )
    cpus: Annotated[float, Field(gt=0, le=4096)] = 1.0
    gpus: Annotated[float, Field(ge=0, le=4096)] = 0.0

    @property
    def total_cpus(self) -> float:
        """Of all ranks together."""
        return max(self.workers, 1) * self.cpus

    @property
    def total_gpus(self) -> float:
        """Of all ranks together."""
        return max(self.workers, 1) * self.gpus


@final
class TrainResources(Resources):
    """Training may have several ranks."""

    workers: Annotated[int, Field(ge=0, le=1024)] = Field(
        1, description="Ranks; 0 runs inside the attempt, without Ray."
    )
