"""A data set as a model sees it: three parts, divided by seed, with the digest of where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from closegap_core.config import DataConfig, SplitConfig
from closegap_core.data.source import Source, open_source
from closegap_core.errors import DataError


@dataclass(frozen=True)
class Part:
    """One part of a split. rows: (N, X) float32, C-contiguous, grey levels in [0, 1] for images;
    ids: (N,) int64, the row's number in the source."""

    rows: np.ndarray
    ids: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Three parts without a common row.

    shape: of one row, its product is X; digest: sha256 (hex) of the source, not of the split; binarise:
    whether x ~ Bernoulli(row) is drawn anew each time a row is used.
    """

    source: str
    shape: tuple[int, ...]
    train: Part
    valid: Part
    test: Part
    digest: str
    binarise: bool


def load(config: DataConfig, likelihood: str, roots: Sequence[Path]) -> Dataset:
    """Read, check and divide the source of `config`. likelihood: `bernoulli` needs values in [0, 1].

    Raises DataError: see `open_source`; values not fit for the likelihood; a split larger than the data.
    """
    source = open_source(config.source, config.array, roots)
    binarise = likelihood == "bernoulli" if config.binarise is None else config.binarise == "dynamic"
    source.check(unit_interval=binarise or likelihood == "bernoulli")
    split = config.split or _default_split(source)
    wanted = split.train + split.valid + split.test
    if wanted > source.count:
        raise DataError(
            f"data.split asks for {split.train} + {split.valid} + {split.test} = {wanted} rows, "
            f"but {source.name!r} has {source.count}"
        )
    order = np.random.Generator(np.random.PCG64(split.seed)).permutation(source.count)
    train, valid, test, _ = np.split(order, np.cumsum([split.train, split.valid, split.test]))
    return Dataset(
        source=source.name,
        shape=source.shape,
        train=_part(source, train),
        valid=_part(source, valid),
        test=_part(source, test),
        digest=source.digest(),
        binarise=binarise,
    )


def load_rows(
    source: str, array: str | None, roots: Sequence[Path]
) -> tuple[np.ndarray, tuple[int, ...], str]:
    """All rows (N, X) float32, the shape of one row, and the digest of a source, undivided.

    Raises DataError: see `open_source`; values that are not finite.
    """
    opened = open_source(source, array, roots)
    opened.check(unit_interval=False)
    return opened.rows(slice(None)), opened.shape, opened.digest()


def _default_split(source: Source) -> SplitConfig:
    """80 %, 10 % and 10 % of the rows, seed 0."""
    tenth = source.count // 10
    if tenth < 1:
        raise DataError(
            f"{source.name!r} has {source.count} rows, too few to divide by default; give data.split"
        )
    return SplitConfig(train=source.count - 2 * tenth, valid=tenth, test=tenth)


def _part(source: Source, index: np.ndarray) -> Part:
    return Part(rows=source.rows(index), ids=index.astype(np.int64))
