"""What a picture consists of, whichever library draws it: curves, bars, strips of images, and surfaces."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, final

import numpy as np

Dash = Literal["solid", "dash", "dot", "dashdot"]
Frame = tuple[tuple[float, float], tuple[float, float]]
"""Low and high of x, then of y."""
MARGIN, LEAST = 0.25, 1.0
"""Of what is shown around paths: so much of their extent on each side, and at least so far from their middle."""
PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f", "#8c564b", "#17becf")
"""Mostly Okabe and Ito's colours, told apart by every kind of colour vision; used in turn, with dash or marker."""


@final
@dataclass(frozen=True)
class Curve:
    """A line through points, with a standard error each where there is one."""

    name: str
    x: tuple[float, ...]
    y: tuple[float, ...]
    error: tuple[float, ...] | None = None
    colour: int = 0
    dash: Dash = "solid"
    marked: bool = False


@final
@dataclass(frozen=True)
class CurvePanel:
    """Curves in one frame. y_range: what is shown at first; absent: all."""

    title: str
    x_title: str
    y_title: str
    curves: tuple[Curve, ...]
    log_x: bool = False
    log_y: bool = False
    y_range: tuple[float, float] | None = None


@final
@dataclass(frozen=True)
class Stack:
    """One bar part for each label; a later stack stands on the earlier ones where the panel is stacked."""

    name: str
    values: tuple[float | None, ...]
    errors: tuple[float | None, ...]
    colour: int = 0


@final
@dataclass(frozen=True)
class BarPanel:
    """Bars from zero (`stacked`), or points with error bars where zero is far away."""

    title: str
    y_title: str
    labels: tuple[str, ...]
    stacks: tuple[Stack, ...]
    stacked: bool = False
    y_range: tuple[float, float] | None = None
    notes: tuple[str, ...] = ()
    """Beside the points, one a label."""


@final
@dataclass(frozen=True)
class Strip:
    """Images in a line: (R, X) bytes."""

    name: str
    images: np.ndarray


@final
@dataclass(frozen=True)
class StripPanel:
    """Strips below one another, all of one shape: that of an image."""

    title: str
    shape: tuple[int, ...]
    strips: tuple[Strip, ...]


@final
@dataclass(frozen=True)
class SurfacePanel:
    """Heights z (M, N) over x (N,) and y (M,), with paths on the plane; the first path lies on top.

    frame: what is shown at first; absent: all.
    """

    title: str
    x_title: str
    y_title: str
    z_title: str
    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    paths: tuple[Curve, ...]
    frame: Frame | None = None


Panel = CurvePanel | BarPanel | StripPanel | SurfacePanel


def around(paths: Sequence[np.ndarray], axis: np.ndarray) -> Frame:
    """A square around all points (N, 2) of the paths, with a margin, on a surface over `axis` in both directions."""
    points = np.concatenate(paths)
    low, high = points.min(0), points.max(0)
    half = max(float((high - low).max()) * (0.5 + MARGIN), LEAST)
    half = min(half, float(axis[-1] - axis[0]) / 2)
    middles = np.clip((low + high) / 2, axis[0] + half, axis[-1] - half)
    x, y = ((float(middle - half), float(middle + half)) for middle in middles)
    return x, y
