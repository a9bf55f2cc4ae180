"""Colour patches of the two sample photographs inside scikit-learn, `china.jpg` and `flower.jpg`.

The photographs are cut along a grid, so that no two patches have a pixel in common and no part of a split sees
another's pixels. Neighbours on the grid do look alike: held-out bounds are of the same two photographs.
"""

from __future__ import annotations

import numpy as np

from closegap_core.data.images import pixels
from closegap_core.data.raw import Raw, packaged_file
from closegap_core.errors import DataError

PHOTOGRAPHS = ("china.jpg", "flower.jpg")
SHAPE = (427, 640, 3)


def read(side: int) -> Raw:
    """(N, side, side, 3) uint8, unit 255: 8,480 patches of side 8, or 2,080 of side 16.

    Raises DataError when scikit-learn or Pillow is not installed.
    """
    return Raw(np.concatenate([_patches(name, side) for name in PHOTOGRAPHS]), "byte", 255.0)


def _patches(name: str, side: int) -> np.ndarray:
    path = packaged_file("sklearn", ("datasets", "images", name))
    try:
        with path.open("rb") as stream:
            photograph = pixels(stream, f"{name} of package 'sklearn'")
    except OSError as error:
        raise DataError(f"the data file of package 'sklearn' cannot be read: {error}") from error
    if photograph.shape != SHAPE:
        raise DataError(f"{name} of package 'sklearn' has shape {photograph.shape}; expected is {SHAPE}")
    rows, columns = SHAPE[0] // side, SHAPE[1] // side
    grid = photograph[: rows * side, : columns * side].reshape(rows, side, columns, side, 3)
    return grid.swapaxes(1, 2).reshape(-1, side, side, 3)
