"""Files that a spec names by their path: arrays and word counts, told apart by the ending of the name.

Arrays are taken as they are, nothing is rescaled. Under a Bernoulli likelihood values must lie in [0, 1], so 8-bit
images are refused with the advice to divide them by 255 first: guessing would confuse 0/1 data with dark images.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import IO

from closegap_core.data.counts import Counts
from closegap_core.data.ldac import read_ldac
from closegap_core.data.npy import read_npy, read_npz
from closegap_core.data.raw import Raw
from closegap_core.data.roots import listed, locate, open_file, unreadable
from closegap_core.data.svmlight import read_svmlight
from closegap_core.errors import DataError

TEXTS: dict[str, Callable[[bytes, str], Counts]] = {".ldac": read_ldac, ".svmlight": read_svmlight}
SUFFIXES = (".npy", ".npz", *TEXTS)


def read_file(name: str, array: str | None, roots: Sequence[Path]) -> Raw:
    """The rows of file `name`; a relative path is looked for under each root in turn.

    Raises DataError: outside the roots, absent, linked, or not of the format that its ending names.
    """
    suffix = Path(name).suffix
    if suffix not in SUFFIXES:
        raise DataError(f"data file {name!r} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    if array is not None and suffix != ".npz":
        raise DataError(f"data.array is {array!r}, but {name!r} is an {suffix} file, which holds one array")
    path = locate(name, roots)
    if path is None:
        raise DataError(
            f"data file {name!r} does not exist; looked under the allowed data roots: {listed(roots)}"
        )
    try:
        with open_file(path, name) as stream:
            return _read(stream, suffix, array, name)
    except OSError as error:
        raise unreadable(name, error) from error


def _read(stream: IO[bytes], suffix: str, array: str | None, name: str) -> Raw:
    if suffix in TEXTS:
        return Raw(TEXTS[suffix](stream.read(), f"data file {name!r}"), "count")
    values = read_npy(stream, name) if suffix == ".npy" else read_npz(stream, array, name)
    if isinstance(values, Counts):
        return Raw(values, "count")
    return Raw(values, "binary" if values.dtype.kind == "b" else "real")
