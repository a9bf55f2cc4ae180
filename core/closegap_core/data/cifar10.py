"""CIFAR-10 (Krizhevsky 2009): 32 by 32 colour pixels, from the Python batches or from the binary version.

The Python batches are pickles and are read without running them (`opcodes`); they are held to their published
checksums. Of the single files of the binary version none is published; their size and labels are checked.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from closegap_core.data.opcodes import read_dictionary
from closegap_core.data.publication import File, Folder, Publication
from closegap_core.data.raw import Division, Raw
from closegap_core.errors import DataError

WIDTH = 3 * 32 * 32

PUBLICATION = Publication(
    "cifar-10",
    "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz (or cifar-10-binary.tar.gz), unpack it",
    (
        File("data_batch_1", 10_000, "md5:c99cafc152244af753f735de768cd75f"),
        File("data_batch_2", 10_000, "md5:d4bba439e000b95fd0a9bffe97cbabec"),
        File("data_batch_3", 10_000, "md5:54ebc095f3ab1f0389bbae665268c751"),
        File("data_batch_4", 10_000, "md5:634d18415352ddfa80567beed471001a"),
        File("data_batch_5", 10_000, "md5:482c414d41f54cd18b22e5b47cb7c3cb"),
        File("test_batch", 10_000, "md5:40351d587109b95175f43aff81a1287e"),
    ),
    archives=("cifar-10-batches-py", "cifar-10-batches-bin"),
)


def read(folder: Folder) -> Raw:
    """(60000, 32, 32, 3) uint8, unit 255: the five training batches, then the test batch.

    Raises DataError: absent, other than published, or not of the published form.
    """
    batches = [_batch(folder, file) for file in folder.publication.files]
    images = np.concatenate(batches).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
    train = sum(len(batch) for batch in batches[:-1])
    return Raw(np.ascontiguousarray(images), "byte", 255.0, Division(train, 0, len(batches[-1])))


def _batch(folder: Folder, file: File) -> np.ndarray:
    """(N, 3072) uint8: red, green and blue plane of each image."""
    place = f"data source {folder.publication.source!r}: {file.name}"
    binary = file.name + ".bin"
    if folder.find(file.name) is None and folder.find(binary) is not None:
        return _binary(folder.content(replace(file, name=binary, digest=None)), file, f"{place}.bin")
    batch = read_dictionary(folder.content(file), place)
    images = batch.get("data")
    if not isinstance(images, np.ndarray) or images.shape != (file.rows, WIDTH):
        found = images.shape if isinstance(images, np.ndarray) else type(images).__name__
        raise DataError(f"{place}: 'data' is {found}; expected is an array {(file.rows, WIDTH)}")
    return images


def _binary(content: bytes, file: File, place: str) -> np.ndarray:
    """One byte of label, then the image, image after image."""
    if len(content) != file.rows * (1 + WIDTH):
        raise DataError(
            f"{place} has {len(content)} bytes; {file.rows} labelled images take {file.rows * (1 + WIDTH)}"
        )
    rows = np.frombuffer(content, np.uint8).reshape(file.rows, 1 + WIDTH)
    if rows[:, 0].max() > 9:
        row = int(np.argmax(rows[:, 0] > 9))
        raise DataError(f"{place}: image {row} has label {rows[row, 0]}; accepted are 0 to 9")
    return rows[:, 1:]
