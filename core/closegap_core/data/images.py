"""A folder of PNG and JPEG images of one size, all grey or all colour; subfolders count, names give the order."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import IO

import numpy as np

from closegap_core.data.raw import Raw
from closegap_core.data.roots import listed, locate, open_file, unreadable
from closegap_core.errors import DataError

SUFFIXES = (".png", ".jpg", ".jpeg")
MODES = ("L", "RGB")


def read_folder(path: str | None, roots: Sequence[Path]) -> Raw:
    """(N, H, W) or (N, H, W, 3) uint8, unit 255, in the order of the sorted paths below the folder.

    Raises DataError: no folder, no images, other sizes or colours than the first, unreadable, links out of the roots.
    """
    if path is None:
        raise DataError(
            "data source 'images' needs data.path, the folder of the images under an allowed data root"
        )
    folder = locate(path, roots)
    if folder is None or not folder.is_dir():
        raise DataError(f"there is no folder {path!r} under the allowed data roots: {listed(roots)}")
    names = _names(folder)
    if not names:
        raise DataError(
            f"folder {path!r} holds no images; accepted are files ending in {', '.join(SUFFIXES)}"
        )
    first = _image(folder, names[0], roots)
    images = np.empty((len(names), *first.shape), np.uint8)
    for i, name in enumerate(names):
        image = _image(folder, name, roots)
        if image.shape != first.shape:
            raise DataError(
                f"image {name!r} has shape {image.shape}, but {names[0]!r} has {first.shape}; all must be alike"
            )
        images[i] = image
    return Raw(images, "byte", 255.0)


def pixels(stream: IO[bytes], place: str) -> np.ndarray:
    """(H, W) or (H, W, 3) uint8. Raises DataError: Pillow absent, damaged, too large, neither grey nor RGB."""
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DataError(f"{place} is read by the package 'pillow', which is not installed") from error
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", Image.DecompressionBombWarning)
            with Image.open(stream, formats=("PNG", "JPEG")) as image:
                if image.mode not in MODES:
                    raise DataError(
                        f"{place} is of mode {image.mode}; accepted are {' and '.join(MODES)} of 8 bits"
                    )
                return np.asarray(image)
    except (
        UnidentifiedImageError, Image.DecompressionBombError, Image.DecompressionBombWarning,
        OSError, ValueError, SyntaxError, EOFError,
    ) as error:  # fmt: skip
        raise DataError(f"{place} is damaged or no PNG or JPEG image: {error}") from error


def _names(folder: Path) -> list[str]:
    """Paths of the images relative to the folder, in the order of their code points; linked folders are not entered."""
    found: list[str] = []
    try:
        for place, _, files in os.walk(folder):
            inner = Path(place).relative_to(folder)
            found.extend(str(inner / file) for file in files if file.lower().endswith(SUFFIXES))
    except OSError as error:
        raise unreadable(str(folder), error) from error
    return sorted(found)


def _image(folder: Path, name: str, roots: Sequence[Path]) -> np.ndarray:
    real = locate(str(folder / name), roots)
    if real is None:
        raise DataError(f"image {name!r} is a link to nothing")
    with open_file(real, name) as stream:
        return pixels(stream, f"image {name!r}")
