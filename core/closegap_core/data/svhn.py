"""Street View House Numbers (Netzer et al. 2011), cropped digits of 32 by 32 colour pixels; `extra` is not used."""

from __future__ import annotations

import numpy as np

from closegap_core.data.matlab import matrices
from closegap_core.data.publication import File, Folder, Publication
from closegap_core.data.raw import Division, Raw
from closegap_core.errors import DataError

SHAPE = (32, 32, 3)

PUBLICATION = Publication(
    "svhn",
    "http://ufldl.stanford.edu/housenumbers/",
    (
        File("train_32x32.mat", 73_257, "md5:e26dedcc434d2e4c54c9b2d4a06d8373"),
        File("test_32x32.mat", 26_032, "md5:eb5a983be6a315427106f1b164d9cef3"),
    ),
)


def read(folder: Folder) -> Raw:
    """(99289, 32, 32, 3) uint8, unit 255: the training images, then the test images.

    Raises DataError: absent, other than published, no MATLAB file, other shapes or counts.
    """
    train, test = (_images(folder, file) for file in folder.publication.files)
    return Raw(np.concatenate([train, test]), "byte", 255.0, Division(len(train), 0, len(test)))


def _images(folder: Folder, file: File) -> np.ndarray:
    place = f"data source {folder.publication.source!r}: {file.name}"
    (images,) = matrices(folder.content(file), ("X",), place)
    if images.shape != (*SHAPE, file.rows) or images.dtype != np.uint8:
        raise DataError(
            f"{place}: 'X' has shape {images.shape} of {images.dtype}; expected is {(*SHAPE, file.rows)} of uint8"
        )
    return images.transpose(3, 0, 1, 2)
