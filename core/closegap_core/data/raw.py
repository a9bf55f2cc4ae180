"""What every source gives: an array as it was stored, and the unit of its values."""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from closegap_core.errors import DataError


@dataclass(frozen=True)
class Raw:
    """values: (N, ...) booleans, integers or floats as stored; a model sees values / unit."""

    values: np.ndarray
    unit: float


def packaged_table(package: str, path: tuple[str, ...]) -> np.ndarray:
    """The uint8 table of a gzipped CSV file that an installed package ships.

    The package is not imported: for scikit-learn that alone takes seconds, reading the table 0.1 s.

    Raises DataError when the package or its file is absent.
    """
    found = find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise DataError(f"this data comes with the package {package!r}, which is not installed")
    file = Path(found.submodule_search_locations[0], *path)
    try:
        with gzip.open(file, "rt", encoding="ascii") as text:
            return np.loadtxt(text, delimiter=",", dtype=np.float32).astype(np.uint8)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(
            f"the data file of package {package!r} cannot be read: {file.name}: {error}"
        ) from error
