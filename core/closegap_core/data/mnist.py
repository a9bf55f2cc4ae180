"""MNIST (LeCun et al. 1998) and Fashion-MNIST (Xiao et al. 2017): images of 28 by 28 grey levels in IDX files.

The checksums are of the decompressed files, so that a file that was gzipped anew is still the published one.
"""

from __future__ import annotations

import struct

import numpy as np

from closegap_core.data.publication import File, Folder, Publication
from closegap_core.data.raw import Division, Raw
from closegap_core.errors import DataError

SIDE = 28
MAGIC = 0x0803  # unsigned bytes, three dimensions
HEADER = struct.Struct(">4I")

MNIST = Publication(
    "mnist",
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    (
        File("train-images-idx3-ubyte", 60_000, "md5:6bbc9ace898e44ae57da46a324031adb"),
        File("t10k-images-idx3-ubyte", 10_000, "md5:2646ac647ad5339dbf082846283269ea"),
    ),
)
FASHION = Publication(
    "fashion-mnist",
    "http://fashion-mnist.s3-website.eu-central-1.amazonaws.com/",
    (
        File("train-images-idx3-ubyte", 60_000, "md5:f4a8712d7a061bf5bd6d2ca38dc4d50a"),
        File("t10k-images-idx3-ubyte", 10_000, "md5:8181f5470baa50b63fa0f6fddb340f0a"),
    ),
)


def read(folder: Folder) -> Raw:
    """(70000, 28, 28) uint8, unit 255: the training images, then the test images.

    Raises DataError: absent, other than published, or no IDX file of the right shape.
    """
    train, test = (_images(folder, file) for file in folder.publication.files)
    return Raw(np.concatenate([train, test]), "byte", 255.0, Division(len(train), 0, len(test)))


def _images(folder: Folder, file: File) -> np.ndarray:
    size = HEADER.size + file.rows * SIDE * SIDE
    content = folder.content(file, size)
    expected = (MAGIC, file.rows, SIDE, SIDE)
    header = HEADER.unpack_from(content) if len(content) >= HEADER.size else ()
    if header != expected or len(content) != size:
        raise DataError(
            f"data source {folder.publication.source!r}: {file.name} has {len(content)} bytes and IDX header {header}; "
            f"expected are {size} bytes and {expected} (magic number, images, rows, columns)"
        )
    return np.frombuffer(content, np.uint8, offset=HEADER.size).reshape(-1, SIDE, SIDE)
