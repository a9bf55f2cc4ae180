"""Where rows come from and how they are divided."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from closegap_core.config.base import Config, Seed


class SplitConfig(Config):
    """Row counts of the three parts, drawn without overlap from one seeded permutation of the rows.

    A published division is kept: where a source has test (or validation) rows of its own, `test` (or `valid`) counts
    rows drawn from those, and the rest comes from its training rows.
    """

    train: PositiveInt = Field(description="Rows that training sees.")
    valid: PositiveInt = Field(description="Rows that only choose between models (epochs, trials).")
    test: PositiveInt = Field(description="Rows that only `evaluate` and `encode` see.")
    seed: Seed = 0


class DataConfig(Config):
    """Where rows come from and how they are divided."""

    source: Annotated[str, Field(min_length=1)] = Field(
        description="Inside packages: `mnist-5k`, `digits`, `reuters`, `patches`, `patches-16`. In a folder: `mnist`, "
        "`fashion-mnist`, `binarised-mnist`, `omniglot`, `svhn`, `cifar-10`, `rcv1`, `images`. Else the path of a "
        ".npy, .npz, .ldac or .svmlight file under an allowed data root."
    )
    path: Annotated[str, Field(min_length=1)] | None = Field(
        None,
        description="Folder of a published source, under an allowed data root; absent: one called as the source. "
        "`images` needs it.",
    )
    array: str | None = Field(
        None, description="Name of the array inside an .npz file; its only one if absent."
    )
    split: SplitConfig | None = Field(
        None,
        description="Absent: published parts whole; a part that is not published is 10 % of the training rows, seed 0.",
    )
    binarise: Literal["dynamic", "threshold", "none"] | None = Field(
        None,
        description="`dynamic` draws x ~ Bernoulli(row) at each use; `threshold` is 1 from half of the range on. "
        "Absent: `dynamic` for grey levels under Bernoulli, else `none`.",
    )
