"""The word counts of 395 Reuters articles inside the wheel of `lda`, 4,258 words."""

from __future__ import annotations

from closegap_core.data.ldac import read_ldac
from closegap_core.data.raw import Raw, packaged_file
from closegap_core.errors import DataError

DOCUMENTS, WORDS = 395, 4258


def read() -> Raw:
    """Counts (395, 4258). Raises DataError when lda is not installed or has other articles."""
    path = packaged_file("lda", ("tests", "reuters.ldac"))
    try:
        content = path.read_bytes()
    except OSError as error:
        raise DataError(f"the data file of package 'lda' cannot be read: {error}") from error
    counts = read_ldac(content, "reuters.ldac of package 'lda'", WORDS)
    if len(counts) != DOCUMENTS:
        raise DataError(f"reuters.ldac of package 'lda' has {len(counts)} articles; expected are {DOCUMENTS}")
    return Raw(counts, "count")
