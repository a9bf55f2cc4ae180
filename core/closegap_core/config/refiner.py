"""Rules that move each row's own q, and how many draws of z they and the encoders see."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from closegap_core.config.base import Config, named

Samples = Annotated[int, Field(ge=1, le=10_000, description="Monte-Carlo samples S of an ELBO estimate.")]


def paired(draws: str, samples: int) -> None:
    """Raises ValueError where draws come in pairs and the samples do not."""
    if draws != "independent" and samples % 2:
        raise ValueError(
            f"draws are {draws}, which come in pairs, but samples is {samples}; give an even number"
        )


class RefinerConfig(Config):
    """A rule that moves each row's own q along the gradient of its ELBO."""

    kind: Literal["sgd", "momentum", "rmsprop", "adam", "natural", "newton"] = "adam"
    learning_rate: float = Field(0.1, gt=0, le=10, description="Of the per-row gradient.")
    clip: float | None = Field(
        None, gt=0, description="Longest gradient of a row, by its norm; a longer one is shortened to it."
    )
    momentum: float = Field(0.6, ge=0, lt=1, description="Of `momentum`, `natural` and `newton`.")
    anneal: float = Field(
        3.0, gt=0, description="Of `newton`: after so many steps rate and momentum are halved."
    )
    trust: float = Field(
        8.0, gt=0, description="Of `newton`: steps that the variance it starts from counts for."
    )
    draws: Literal["independent", "antithetic", "signs"] = Field(
        "independent",
        description="How the samples of a step relate; the latter two come in pairs, so S is even.",
    )


Refiner = Annotated[RefinerConfig, named("kind")]
