"""How a trained model is measured."""

from __future__ import annotations

from typing import Annotated, Literal, Self

from pydantic import Field, PositiveInt, model_validator

from closegap_core.config.base import Config, Seed, named
from closegap_core.config.refiner import RefinerConfig, Samples, paired


class SampledRefinerConfig(RefinerConfig):
    """A refiner by itself, with samples of its own."""

    samples: Samples = 1

    @model_validator(mode="after")
    def _draws_have_partners(self) -> Self:
        paired(self.draws, self.samples)
        return self


class RefinementConfig(SampledRefinerConfig):
    """A refiner on each row's own q, the comparison curve of an evaluation."""

    iterations: Annotated[int, Field(ge=1, le=100_000)] = 100
    learning_rate: float = Field(0.05, gt=0, le=10)


class OptimumConfig(Config):
    """Adam on each row's own q until it stops rising: the best member q* of the family."""

    learning_rates: tuple[Annotated[float, Field(gt=0, le=10)], ...] = Field(
        (0.05, 0.01, 0.002),
        min_length=1,
        description="One after the other, each until the bound stops rising.",
    )
    samples: Samples = 16
    window: PositiveInt = Field(50, description="Steps whose places are averaged before they are judged.")
    patience: PositiveInt = Field(2, description="Windows without a rise before a row goes to the next rate.")
    tolerance: float = Field(0.002, ge=0, description="Nats that count as a rise.")
    max_steps: PositiveInt = Field(5000, description="Of a row; reached: the report says not converged.")


class AisConfig(Config):
    """Annealed importance sampling with Hamiltonian transitions (Neal 2001; Wu et al. 2017)."""

    chains: Annotated[int, Field(ge=2)] = Field(
        16, description="Of each row; the error of the estimate is told from their spread."
    )
    temperatures: PositiveInt = 1000
    leapfrogs: PositiveInt = 10
    schedule: Literal["linear", "sigmoid"] = "sigmoid"


class FlowConfig(Config):
    """The local auxiliary flow of Cremer et al. 2018: couplings of (z, v) whose networks are each row's own."""

    auxiliary: PositiveInt | None = Field(None, description="Dimensions of v; absent: as many as z.")
    couplings: PositiveInt = Field(2, description="Coupling steps, each of v given z, then of z given v.")
    hidden: PositiveInt = Field(50, description="Width of the hidden layer of each network.")
    optimum: OptimumConfig = OptimumConfig(learning_rates=(0.02, 0.005, 0.001), samples=32)


class GapConfig(Config):
    """The approximation, amortization and inference gap of Cremer, Li & Duvenaud 2018."""

    rows: PositiveInt = Field(100, description="Rows of each part that are measured.")
    parts: tuple[Literal["train", "valid", "test"], ...] = Field(("train", "test"), min_length=1)
    elbo_samples: Samples = Field(1000, description="Draws of L[q], L[q*] and the flow's.")
    importance_samples: PositiveInt = 5000
    optimum: OptimumConfig = OptimumConfig()
    flow: FlowConfig | None = Field(
        None, description="A richer family beside the diagonal Gaussian, in minutes. Null: not run."
    )
    ais: AisConfig | None = Field(AisConfig(), description="Null: log p(x) by importance sampling alone.")
    certificate_rows: Annotated[int, Field(ge=0)] = Field(
        20, description="Simulated rows on which AIS is bounded from both sides; 0: no certificate."
    )


class FrontierRefinerConfig(SampledRefinerConfig):
    """A refiner of the frontier; a step costs `samples` decoder passes a row."""


class FrontierConfig(Config):
    """How much of the amortization gap is left after so many decoder passes a row, and so many CPU seconds."""

    passes: Annotated[int, Field(ge=1, le=100_000)] = Field(
        16, description="The budget of a row: decoder passes of one sample, with their gradient."
    )
    starts: tuple[Literal["prior", "model"] | PositiveInt, ...] = Field(
        ("prior", "model"),
        min_length=1,
        description="Where refiners begin: the prior, the model's q after its T iterations, or after so many.",
    )
    refiners: tuple[Annotated[FrontierRefinerConfig, named("kind")], ...] = Field(
        (
            FrontierRefinerConfig(kind="adam", learning_rate=0.05),
            FrontierRefinerConfig(kind="natural", learning_rate=0.2),
        ),
        description="Each from every start; the model's own iterations are always a line.",
    )
    rows: PositiveInt = Field(200, description="Rows of `part` that are measured.")
    samples: Samples = Field(100, description="Draws of each ELBO, the same at every point of a row.")


class SurfaceConfig(Config):
    """The bound of single rows over two dimensions of q's mean, and how each method walks on it."""

    dimensions: tuple[Annotated[int, Field(ge=0)], Annotated[int, Field(ge=0)]] = Field(
        (0, 1), description="Of z, from 0; the others, and the variances, are those of the row's best q."
    )
    objective: Literal["elbo", "log_joint"] = Field(
        "elbo", description="`log_joint`: log p(x, z) at z = mean, what a point estimate maximises."
    )
    rows: PositiveInt = Field(2, description="So many rows of `part`, from the first.")
    low: float = -5.0
    high: float = 5.0
    step: float = Field(0.1, gt=0)
    samples: Samples = Field(16, description="Draws of each height, the same everywhere.")
    refiners: tuple[Annotated[FrontierRefinerConfig, named("kind")], ...] = Field(
        (FrontierRefinerConfig(kind="adam", learning_rate=0.1),),
        description="From the prior; the model's own iterations are always a path.",
    )
    steps: PositiveInt = Field(100, description="Of each refiner.")

    @model_validator(mode="after")
    def _a_plane_with_an_extent(self) -> Self:
        if self.dimensions[0] == self.dimensions[1]:
            raise ValueError(f"dimensions are {list(self.dimensions)}; two different ones make a plane")
        if not self.step < self.high - self.low < 1000 * self.step:
            raise ValueError(
                f"low {self.low}, high {self.high} and step {self.step} make no grid of 2 to 1000 points a side"
            )
        return self


class EvaluationConfig(Config):
    """How a trained model is measured on its test rows."""

    part: Literal["valid", "test"] = "test"
    rows: PositiveInt | None = Field(None, description="Only the first so many rows; absent: all.")
    iterations: Annotated[int, Field(ge=1, le=10_000)] | None = Field(
        None, description="Inference iterations T; absent: as trained. The curve goes on to twice as many."
    )
    samples: Samples = Field(10, description="Samples of each reported ELBO.")
    importance_samples: Annotated[int, Field(ge=1, le=1_000_000)] = Field(
        500, description="K of the IWAE bound."
    )
    refinement: RefinementConfig | None = Field(RefinementConfig(), description="Adam on q; null: not run.")
    gaps: GapConfig | None = Field(None, description="The gap report; minutes to hours. Null: not run.")
    frontier: FrontierConfig | None = Field(
        None, description="ELBO against decoder passes and seconds, every start and refiner. Null: not run."
    )
    surface: SurfaceConfig | None = Field(
        None, description="The bound over two dimensions of q's mean, with paths. Null: not run."
    )
    batch_size: PositiveInt = 250
    seed: Seed = 0
    threads: PositiveInt = 1
