"""A data set as a model sees it: three parts, divided by seed, with the digest of where they came from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from closegap_core.config import DataConfig, SplitConfig
from closegap_core.data.counts import Counts, Rows, Tfidf
from closegap_core.data.raw import Division, Values
from closegap_core.data.source import Source, open_source
from closegap_core.errors import DataError

_NEEDS: dict[str, Values] = {"bernoulli": "unit", "dequantised": "byte", "multinomial": "count"}
"""What the values must be, by likelihood; any other takes all finite numbers."""


@dataclass(frozen=True)
class Part:
    """One part of a split. rows: (N, X) float32, C-contiguous, or Counts, which give such arrays when indexed by a
    slice or by row numbers; ids: (N,) int64, the row's number in the source."""

    rows: Rows
    ids: np.ndarray


@dataclass(frozen=True)
class Dataset:
    """Three parts without a common row.

    shape: of one row, its product is X; digest: sha256 (hex) of the source, not of the split; binarise:
    whether x ~ Bernoulli(row) is drawn anew each time a row is used; values: what the rows hold.
    """

    source: str
    shape: tuple[int, ...]
    train: Part
    valid: Part
    test: Part
    digest: str
    binarise: bool
    values: Values = "unit"


def load(config: DataConfig, likelihood: str, roots: Sequence[Path]) -> Dataset:
    """Read, check and divide the source of `config` for a kind of likelihood.

    Rows are grey levels in [0, 1] for `bernoulli`, 0 to 255 for `dequantised`, Counts for `multinomial`, any finite
    numbers for another; 8-bit sources are divided by 255 but for `dequantised`.
    Raises DataError: see `open_source`; values not fit for the likelihood; a split larger than the data.
    """
    source = open_source(config.source, config.array, roots, config.path)
    if config.binarise == "threshold":
        source = source.thresholded()
    binarise = _binarise(config, likelihood, source)
    needed = "unit" if binarise else _NEEDS.get(likelihood, "real")
    source.check(needed)
    indices = _divide(source, config.split)
    train, valid, test = (Part(source.rows(index, needed), index.astype(np.int64)) for index in indices)
    if isinstance(train.rows, Counts):
        tfidf = train.rows.statistics()
        train, valid, test = (_weighted(part, tfidf) for part in (train, valid, test))
    return Dataset(
        source=source.name,
        shape=source.shape,
        train=train,
        valid=valid,
        test=test,
        digest=source.digest(),
        binarise=binarise,
        values=_delivered(source.raw.kind, needed),
    )


def load_rows(
    source: str,
    array: str | None,
    roots: Sequence[Path],
    path: str | None = None,
    likelihood: str = "gaussian",
) -> tuple[Rows, tuple[int, ...], str]:
    """All rows (N, X) as `load` gives them, the shape of one row, and the digest of a source, undivided.

    Raises DataError: see `open_source`; values that are not finite, no bytes for `dequantised`, no counts for
    `multinomial`. Whether values lie in [0, 1] is left to who knows that they must.
    """
    opened = open_source(source, array, roots, path)
    needed = "real" if likelihood == "bernoulli" else _NEEDS.get(likelihood, "real")
    opened.check(needed)
    return opened.rows(slice(None), needed), opened.shape, opened.digest()


def _binarise(config: DataConfig, likelihood: str, source: Source) -> bool:
    if config.binarise == "dynamic" and likelihood in ("dequantised", "multinomial"):
        raise DataError(
            f"data.binarise is 'dynamic', but the {likelihood} likelihood is not of zeros and ones"
        )
    if config.binarise is not None:
        return config.binarise == "dynamic"
    return likelihood == "bernoulli" and source.raw.kind != "binary"


def _delivered(kind: Values, needed: Values) -> Values:
    """What the rows of a source of this kind hold, once they passed as what is needed."""
    if needed != "real":
        return "binary" if (kind, needed) == ("binary", "unit") else needed
    return "unit" if kind == "byte" else kind


def _weighted(part: Part, tfidf: Tfidf) -> Part:
    """The same documents with the word statistics of the training documents."""
    return Part(replace(part.rows, tfidf=tfidf), part.ids) if isinstance(part.rows, Counts) else part


def _divide(source: Source, split: SplitConfig | None) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Row numbers of the three parts, in the order of a seeded permutation; a published part is never crossed."""
    published = source.raw.published or Division(source.count, 0, 0)
    split = split or _default_split(source, published)
    ends = np.cumsum([published.train, published.valid, published.test])
    parts = (split.train, split.valid, split.test)
    # Which published part each of ours is drawn from: its own where there is one, else the training rows.
    pools = (0, 1 if published.valid else 0, 2 if published.test else 0)
    generator = np.random.Generator(np.random.PCG64(split.seed))
    drawn: list[np.ndarray] = []
    for pool, name in enumerate(("training", "validation", "test")):
        wanted = [count for count, of in zip(parts, pools, strict=True) if of == pool]
        size = (published.train, published.valid, published.test)[pool]
        if sum(wanted) > size:
            which = f"published {name} rows" if source.raw.published else "rows"
            raise DataError(f"data.split asks for {_sum(wanted)} {which}, but {source.name!r} has {size}")
        order = int(ends[pool]) - size + generator.permutation(size)
        drawn += np.split(order, np.cumsum(wanted))[: len(wanted)]
    train, valid, test = drawn
    return train, valid, test


def _sum(counts: Sequence[int]) -> str:
    return " + ".join(map(str, counts)) + (f" = {sum(counts)}" if len(counts) > 1 else "")


def _default_split(source: Source, published: Division) -> SplitConfig:
    """Published parts whole; a part that is not published is a tenth of the training rows; seed 0."""
    tenth = published.train // 10
    if tenth < 1 and not (published.valid and published.test):
        raise DataError(
            f"{source.name!r} has {published.train} rows, too few to divide by default; give data.split"
        )
    valid, test = published.valid or tenth, published.test or tenth
    taken = (0 if published.valid else tenth) + (0 if published.test else tenth)
    return SplitConfig(train=published.train - taken, valid=valid, test=test)
