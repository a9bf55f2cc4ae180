"""The static binarised MNIST of Larochelle & Murray (2011): text, one image a line, 784 zeros and ones.

Bounds on it are not comparable with those on dynamically binarised MNIST.
"""

from __future__ import annotations

import numpy as np

from closegap_core.data.publication import File, Folder, Publication
from closegap_core.data.raw import Division, Raw
from closegap_core.errors import DataError

SIDE = 28
LINE = 2 * SIDE * SIDE  # a digit and a blank, or at the end a newline

PUBLICATION = Publication(
    "binarised-mnist",
    "http://www.cs.toronto.edu/~larocheh/public/datasets/binarized_mnist/",
    (
        File(
            "binarized_mnist_train.amat",
            50_000,
            "sha256:ad693b29f94c14277b095f5238ddefbbdaaae0939789dd2f4f0205278cee3e4d",
        ),
        File(
            "binarized_mnist_valid.amat",
            10_000,
            "sha256:1de3d397c40fe8eeb33dafd4099a1f665ec01e96d9be234aaeeac8a34930e2e2",
        ),
        File(
            "binarized_mnist_test.amat",
            10_000,
            "sha256:e6687bfea3f820c174f33b7865140b2a2dd2930ef786f35d45795fc193b5ab2c",
        ),
    ),
)


def read(folder: Folder) -> Raw:
    """(70000, 28, 28) uint8 of 0 and 1: training, validation and test images, divided as published.

    Raises DataError: absent, other than published, or text of another form.
    """
    parts = [_images(folder, file) for file in folder.publication.files]
    return Raw(np.concatenate(parts), "binary", 1.0, Division(*(len(part) for part in parts)))


def _images(folder: Folder, file: File) -> np.ndarray:
    content = folder.content(file, file.rows * LINE)
    place = f"data source {folder.publication.source!r}: {file.name}"
    if len(content) != file.rows * LINE:
        raise DataError(
            f"{place} has {len(content)} bytes; {file.rows} lines of {SIDE * SIDE} digits make {file.rows * LINE}"
        )
    text = np.frombuffer(content, np.uint8).reshape(file.rows, LINE)
    digits = text[:, ::2] - ord("0")
    between = np.full(SIDE * SIDE, ord(" "), np.uint8)
    between[-1] = ord("\n")
    wrong = (digits > 1) | (text[:, 1::2] != between)
    if wrong.any():
        line, column = (int(n) for n in np.argwhere(wrong)[0])
        raise DataError(
            f"{place}, line {line + 1}: digit {column + 1} is not 0 or 1, or no single blank follows"
        )
    return digits.reshape(-1, SIDE, SIDE)
