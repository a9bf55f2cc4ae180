"""The data of specs, looked at before anything is sent: unknown, unreadable or unfit data is a problem of the spec."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from closegap.errors import Problem
from closegap.settings import Settings
from closegap.specs.problems import problem
from closegap_core.data import load, load_rows
from closegap_core.errors import DataError

if TYPE_CHECKING:
    from closegap.specs.references import Path
    from closegap.specs.spec import Spec
    from closegap_core.config import TrainConfig


def problems(specs: Sequence[Spec]) -> tuple[Problem, ...]:
    """What is wrong with the data of each spec, read under the data roots of the settings."""
    return tuple(
        found for index, spec in enumerate(specs) for found in _of(spec, (index,) if len(specs) > 1 else ())
    )


def _of(spec: Spec, base: Path) -> Iterator[Problem]:
    if spec.kind == "train":
        yield from _of_training(spec.config, base)
    elif spec.kind == "sweep":
        yield from _of_training(spec.train, (*base, "train"))
    elif spec.kind == "encode" and spec.data.source is not None and "${" not in spec.data.source:
        try:
            load_rows(spec.data.source, spec.data.array, Settings.load().data_roots, spec.data.path)
        except DataError as error:
            yield problem((*base, "data", "source"), spec.data.source, str(error))


def _of_training(config: TrainConfig, base: Path) -> Iterator[Problem]:
    source, size = config.data.source, config.training.batch_size
    if "${" in source:
        return
    try:
        dataset = load(config.data, config.model.likelihood.kind, Settings.load().data_roots)
    except DataError as error:
        yield problem((*base, "data", "source"), source, str(error))
        return
    rows = len(dataset.train.ids)
    if size > rows:
        yield problem(
            (*base, "training", "batch_size"), size, f"a batch of {size} rows is larger than the {rows} training rows",
            f"an integer from 1 to {rows}",
        )  # fmt: skip
