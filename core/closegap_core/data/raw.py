"""What every source gives: an array as it was stored, what its values are, and how its publisher divided it."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

import numpy as np

from closegap_core.data.counts import Counts
from closegap_core.errors import DataError

Values = Literal["unit", "binary", "byte", "count", "real"]
"""unit: grey levels in [0, 1]; binary: 0 and 1; byte: integers 0 to 255; count: integers of 0 or more; real: any.

Of an array file `real` also says that nothing is known: what a likelihood needs is looked up in the values."""


@dataclass(frozen=True)
class Division:
    """Rows of the published parts, which follow each other in this order; no `valid` part is 0."""

    train: int
    valid: int
    test: int


@dataclass(frozen=True)
class Raw:
    """values: (N, ...) booleans, integers or floats as stored; a model sees values / unit."""

    values: np.ndarray | Counts
    kind: Values
    unit: float = 1.0
    published: Division | None = None


def packaged_file(package: str, path: tuple[str, ...]) -> Path:
    """A file that an installed package ships. The package is not imported: for scikit-learn that takes seconds.

    Raises DataError when the package or its file is absent.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise DataError(f"this data comes with the package {package!r}, which is not installed")
    file = Path(found.submodule_search_locations[0], *path)
    if not file.is_file():
        raise DataError(f"this version of the package {package!r} has no file {'/'.join(path)}")
    return file


def packaged_table(package: str, path: tuple[str, ...]) -> np.ndarray:
    """The uint8 table of a gzipped CSV file that an installed package ships. Raises DataError: see `packaged_file`."""
    file = packaged_file(package, path)
    try:
        with gzip.open(file, "rt", encoding="ascii") as text:
            return np.loadtxt(text, delimiter=",", dtype=np.float32).astype(np.uint8)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the data file of package {package!r} cannot be read: {file.name}: {error}"
        ) from error
