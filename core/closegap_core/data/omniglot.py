"""Omniglot (Lake et al. 2015) at 28 by 28 grey levels, as prepared by Burda et al. (2016).

No checksum of the file is published; shapes and counts are checked.
"""

from __future__ import annotations

import numpy as np

from closegap_core.data.matlab import matrices
from closegap_core.data.publication import File, Folder, Publication
from closegap_core.data.raw import Division, Raw
from closegap_core.errors import DataError

SIDE = 28
TRAIN, TEST = 24_345, 8_070

PUBLICATION = Publication(
    "omniglot",
    "https://github.com/yburda/iwae/raw/master/datasets/OMNIGLOT/chardata.mat",
    (File("chardata.mat", TRAIN + TEST),),
)


def read(folder: Folder) -> Raw:
    """(32415, 28, 28) float32 in [0, 1], characters upright: the training images, then the test images.

    Raises DataError: absent, no MATLAB file, other shapes, counts or values.
    """
    (file,) = folder.publication.files
    place = f"data source {folder.publication.source!r}: {file.name}"
    train, test = matrices(folder.content(file), ("data", "testdata"), place)
    for name, matrix, count in (("data", train, TRAIN), ("testdata", test, TEST)):
        if matrix.shape != (SIDE * SIDE, count):
            raise DataError(f"{place}: {name!r} has shape {matrix.shape}; expected is {(SIDE * SIDE, count)}")
    images = np.concatenate([train, test], axis=1).T.astype(np.float32)
    if not bool(((images >= 0) & (images <= 1)).all()):
        raise DataError(
            f"{place} has values from {images.min()} to {images.max()}; expected are grey levels in [0, 1]"
        )
    upright = images.reshape(-1, SIDE, SIDE).transpose(0, 2, 1)  # MATLAB counts down the columns
    return Raw(np.ascontiguousarray(upright), "unit", 1.0, Division(TRAIN, 0, TEST))
