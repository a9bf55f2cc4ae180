"""What is compared, against which published figures, and how it is drawn."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from closegap_core.config.base import Config, named

Label = Annotated[str, Field(min_length=1, max_length=100)]
_PLAIN = (
    "elbo",
    "log_likelihood",
    "kl",
    "iwae",
    "bits_per_dimension",
    "bits_per_dimension_iwae",
    "perplexity",
    "perplexity_iwae",
    "active_units",
    "refined_elbo",
    "first_gradient",
    "last_gradient",
)
_OF_A_POINT = ("elbo", "gap", "seconds")
_OF_A_PART = (
    "elbo",
    "optimal_elbo",
    "optimal_flow_elbo",
    "log_evidence",
    "approximation_gap",
    "amortization_gap",
    "inference_gap",
    "flow_gain",
    "flow_approximation_gap",
)
Quantity = Annotated[
    str,
    Field(
        pattern=rf"^({'|'.join(_PLAIN)}|frontier\.({'|'.join(_OF_A_POINT)})"
        rf"|(train|valid|test)\.({'|'.join(_OF_A_PART)}))$",
        description=f"one of {', '.join(_PLAIN)}; of a point of the frontier, after frontier.: "
        f"{', '.join(_OF_A_POINT)}; or of the gap report, after train., valid. or test.: {', '.join(_OF_A_PART)}",
    ),
]
"""A figure of an evaluation. Bounds on log p(x) are in nats; `…_iwae` are of the importance-weighted bound."""
Figure = Annotated[float, Field(allow_inf_nan=False)]
Published = Figure | tuple[Figure, Figure] | Annotated[str, Field(min_length=1)]
"""A value, a value and its error, or words where no value was published."""


class PointConfig(Config):
    """A point of an evaluation's frontier."""

    line: Literal["model", "sgd", "momentum", "rmsprop", "adam", "natural", "newton"] = Field(
        "model",
        description="The model's own iterations, or a refiner: at the best of the rates that were tried.",
    )
    start: Literal["prior", "model"] | int = Field("prior", description="Where the refiner begins.")
    passes: Annotated[int, Field(ge=0)] = Field(
        description="Decoder passes a row; a point that was measured."
    )


class EntryConfig(Config):
    """One evaluation in a comparison. Within a group the others are compared with the first."""

    label: Label
    group: str = Field("", description="Only entries of one group are ranked; each on the same rows.")
    series: str = Field(
        "", description="The line of a figure that the entry is a point of; empty: a level line."
    )
    at: float | None = Field(None, description="Its place on the x axis of that line.")
    point: PointConfig | None = Field(None, description="Which point the columns `frontier.…` tell of.")
    columns: tuple[Quantity, ...] | None = Field(
        None, min_length=1, description="What is told of it; absent: the comparison's columns."
    )
    published: dict[Quantity, Published] = Field(
        default_factory=dict, description="What was published, to stand beside what is measured."
    )


class BarsFigureConfig(Config):
    """The first column of each entry, measured and published side by side."""

    kind: Literal["bars"] = "bars"


class LinesFigureConfig(Config):
    """The first column of each entry against `at`, a line a series."""

    kind: Literal["lines"] = "lines"
    x: str = Field("", description="Title of the x axis.")
    y: str = Field("", description="Title of the y axis; absent: the name of the first column.")


class IterationsFigureConfig(Config):
    """ELBO by inference iteration of each entry, beside refiners of each row's own q."""

    kind: Literal["iterations"] = "iterations"


class FrontierFigureConfig(Config):
    """ELBO against decoder passes and against seconds, for the model's iterations and for each kind of refiner."""

    kind: Literal["frontier"] = "frontier"


class GradientsFigureConfig(Config):
    """Magnitude of the gradient of the mean by inference iteration."""

    kind: Literal["gradients"] = "gradients"


class GapsFigureConfig(Config):
    """Approximation and amortization gap of each entry, a stack a part of the data."""

    kind: Literal["gaps"] = "gaps"


class ReconstructionsFigureConfig(Config):
    """Rows and their reconstructions over inference iterations."""

    kind: Literal["reconstructions"] = "reconstructions"
    rows: Annotated[int, Field(ge=1, le=10)] = 8
    iterations: tuple[Annotated[int, Field(ge=0)], ...] | None = Field(
        None, description="Those that are shown; absent: about eight, spread evenly."
    )


class SurfaceFigureConfig(Config):
    """The bound of single rows over two dimensions of q's mean, with the paths of inference."""

    kind: Literal["surface"] = "surface"


FigureConfig = Annotated[
    BarsFigureConfig
    | LinesFigureConfig
    | IterationsFigureConfig
    | FrontierFigureConfig
    | GradientsFigureConfig
    | GapsFigureConfig
    | ReconstructionsFigureConfig
    | SurfaceFigureConfig,
    Field(discriminator="kind"),
    named("kind"),
]


class ComparisonConfig(Config):
    """How evaluations are put side by side."""

    title: Annotated[str, Field(min_length=1)]
    scale: str = Field("", description="Of the spec file, told with every figure.")
    columns: tuple[Quantity, ...] = Field(("elbo", "iwae"), min_length=1, description="What is told of each.")
    figure: FigureConfig = BarsFigureConfig()
    published_in: str = Field(
        "", description="Where the published figures are from, and how surely: a table, or read off a figure."
    )
    notes: tuple[str, ...] = Field((), description="What a reader of the table has to know.")
