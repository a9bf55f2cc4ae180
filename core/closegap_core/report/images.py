"""Rows of image data as PNG strips and sheets, ready to stand in a page."""

from __future__ import annotations

import base64
import io
import math

import numpy as np

GAP = 1
"""Pixels between pictures, transparent."""


def drawable(shape: tuple[int, ...]) -> bool:
    """Whether a row of this shape is a picture: (H, W), (H, W, 1) or (H, W, 3)."""
    return len(shape) == 2 or (len(shape) == 3 and shape[2] in (1, 3))


def grey_levels(rows: np.ndarray, low: float, high: float) -> np.ndarray:
    """(R, X) values to bytes: low to high becomes 0 to 255, what lies beyond is clipped."""
    scaled = (rows - low) / (high - low if high > low else 1.0)
    return np.round(np.clip(scaled, 0.0, 1.0) * 255).astype(np.uint8)


def strip(levels: np.ndarray, shape: tuple[int, ...]) -> str:
    """(R, X) bytes side by side, as a data URI."""
    return sheet(levels, shape, columns=len(levels))


def canvas(levels: np.ndarray, shape: tuple[int, ...], columns: int) -> np.ndarray:
    """(R, X) bytes row by row on a sheet with so many columns: (height, width, 4) bytes, gaps transparent."""
    height, width = shape[:2]
    pictures = levels.reshape(len(levels), height, width, -1)
    lines = math.ceil(len(levels) / columns)
    drawn = np.zeros((lines * (height + GAP) - GAP, columns * (width + GAP) - GAP, 4), np.uint8)
    for position, picture in enumerate(pictures):
        top, left = position // columns * (height + GAP), position % columns * (width + GAP)
        drawn[top : top + height, left : left + width, :3] = picture
        drawn[top : top + height, left : left + width, 3] = 255
    return drawn


def sheet(levels: np.ndarray, shape: tuple[int, ...], columns: int) -> str:
    """(R, X) bytes row by row on a sheet with so many columns, as the data URI of a PNG."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(canvas(levels, shape, columns), "RGBA").save(file, format="PNG", optimize=True)
    return "data:image/png;base64," + base64.b64encode(file.getvalue()).decode("ascii")
