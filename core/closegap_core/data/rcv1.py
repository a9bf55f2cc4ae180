"""RCV1-v2 (Lewis et al. 2004): counts of the 10,000 most frequent tokens, from the LYRL2004 token files.

A document there is `.I number`, `.W`, lines of stemmed tokens and an empty line. The published chronological division
(23,149 to train) is not kept: Krishnan et al. (2018) and Marino et al. (2018) draw 10,000 test and 5,000 validation
documents out of all 804,414; `data.split: {train: 789414, valid: 5000, test: 10000}` does so with our seed.
Documents without any of the tokens, if there are any, are left out. No checksums of the files are published; the
documents are counted.

scikit-learn's `fetch_rcv1` is no source of counts: it keeps cosine-normalised TF-IDF weights, in a pickle.
"""

from __future__ import annotations

from array import array

import numpy as np

from closegap_core.data.counts import Counts, count_matrix
from closegap_core.data.publication import File, Folder, Publication
from closegap_core.data.raw import Raw
from closegap_core.errors import DataError

VOCABULARY = 10_000

PUBLICATION = Publication(
    "rcv1",
    "http://www.ai.mit.edu/projects/jmlr/papers/volume5/lewis04a/a12-token-files/",
    (
        File("lyrl2004_tokens_train.dat", 23_149),
        File("lyrl2004_tokens_test_pt0.dat", 199_328),
        File("lyrl2004_tokens_test_pt1.dat", 199_339),
        File("lyrl2004_tokens_test_pt2.dat", 199_576),
        File("lyrl2004_tokens_test_pt3.dat", 183_022),
    ),
)


def read(folder: Folder) -> Raw:
    """Counts (804414, 10000), the commonest token first, equally common ones in the order of their letters.

    Raises DataError: absent, other documents than published, text of another form.
    """
    tokens: dict[bytes, int] = {}
    numbers = array("i")
    starts = array("q", [0])
    for file in folder.publication.files:
        place = f"data source {folder.publication.source!r}: {file.name}"
        before = len(starts)
        _read(folder.content(file), place, tokens, numbers, starts)
        if len(starts) - before != file.rows:
            raise DataError(f"{place} has {len(starts) - before} documents; published are {file.rows}")
    return Raw(_counts(tokens, np.frombuffer(numbers, np.int32), np.frombuffer(starts, np.int64)), "count")


def _read(
    content: bytes, place: str, tokens: dict[bytes, int], numbers: array[int], starts: array[int]
) -> None:
    """Append the documents of one file: a number for each token, new ones in the order of their first use."""
    for document in content.split(b".I ")[1:]:
        head, mark, text = document.partition(b".W")
        if not mark or not head.strip().isdigit():
            raise DataError(
                f"{place}: document {len(starts)} begins '.I {head[:20].decode('latin-1').strip()}'; "
                "expected is '.I number', then '.W', then tokens"
            )
        for token in text.split():
            numbers.append(tokens.setdefault(token, len(tokens)))
        starts.append(len(numbers))
    if not content.startswith(b".I "):
        raise DataError(f"{place} does not begin with '.I ', as a token file does")


def _counts(tokens: dict[bytes, int], numbers: np.ndarray, starts: np.ndarray) -> Counts:
    frequencies = np.bincount(numbers, minlength=len(tokens))
    names = np.array(list(tokens))
    kept = np.lexsort((names, -frequencies))[:VOCABULARY]
    word = np.full(len(tokens), -1, np.int32)
    word[kept] = np.arange(len(kept), dtype=np.int32)
    words = word[numbers]
    known = words >= 0
    ends = np.concatenate([[0], np.cumsum(known)])[starts]
    full = np.diff(ends) > 0  # an empty document's end is the one before it
    ends = np.concatenate([[0], ends[1:][full]])
    words = words[known]
    return count_matrix(ends, words, np.ones(len(words), np.int8), len(kept), "RCV1")
