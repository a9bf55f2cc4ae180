"""Word counts as LDA-C writes them (Blei et al. 2003): a document a line, `n word:count word:count …`."""

from __future__ import annotations

import numpy as np

from closegap_core.data.counts import Counts, count_matrix
from closegap_core.errors import DataError


def read_ldac(content: bytes, place: str, width: int | None = None) -> Counts:
    """Counts (N, V); V is `width`, by default the largest word number and one.

    Raises DataError naming the line: no numbers, or not as many pairs as the line announces.
    """
    sizes: list[int] = []
    numbers: list[np.ndarray] = []
    for number, line in enumerate(content.splitlines(), 1):
        fields = line.replace(b":", b" ").split()
        try:
            values = np.array(list(map(int, fields)), np.int64)
        except (ValueError, OverflowError) as error:
            raise DataError(f"{place}, line {number}: {error}") from error
        if not fields:
            raise DataError(f"{place}, line {number} is empty; a document without words is the line '0'")
        if line.count(b":") != values[0] or len(values) != 1 + 2 * values[0]:
            raise DataError(f"{place}, line {number} announces {values[0]} words and has {line.count(b':')}")
        sizes.append(int(values[0]))
        numbers.append(values[1:])
    pairs = np.concatenate([np.empty(0, np.int64), *numbers]).reshape(-1, 2)
    starts = np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))])
    words, counts = pairs[:, 0], pairs[:, 1].astype(np.float64)
    return count_matrix(starts, words, counts, width or int(words.max(initial=-1)) + 1, place)
