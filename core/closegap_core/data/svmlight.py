"""Word counts in the svmlight format (Joachims 1999): a document a line, `target word:count … # comment`.

Targets and `qid` are not used. Words are numbered from 1, or from 0 where a file has a word 0.
"""

from __future__ import annotations

import numpy as np

from closegap_core.data.counts import Counts, count_matrix
from closegap_core.errors import DataError


def read_svmlight(content: bytes, place: str) -> Counts:
    """Counts (N, V), V as large as the words need. Raises DataError naming the line or the document."""
    sizes: list[int] = []
    words: list[int] = []
    counts: list[float] = []
    for number, line in enumerate(content.splitlines(), 1):
        fields = line.partition(b"#")[0].split()
        if not fields:
            continue
        pairs = [field.partition(b":") for field in fields[1:] if not field.startswith(b"qid:")]
        try:
            float(fields[0].partition(b",")[0])
            words.extend(int(word) for word, _, _ in pairs)
            counts.extend(float(count) for _, _, count in pairs)
        except ValueError as error:
            raise DataError(f"{place}, line {number}: {error}; expected is `target word:count …`") from error
        sizes.append(len(pairs))
    starts = np.concatenate([[0], np.cumsum(np.array(sizes, np.int64))])
    try:
        numbers = np.array(words, np.int64)
    except OverflowError as error:
        raise DataError(f"{place} has a word number beyond 64 bits") from error
    first = 0 if (numbers == 0).any() else 1
    width = int(numbers.max(initial=-1)) + 1 - first
    return count_matrix(starts, numbers - first, np.array(counts, np.float64), width, place)
