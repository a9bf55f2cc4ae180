"""Parameters as one flat buffer with named views: one optimizer call, one all-reduce, one file entry a name."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

import torch
from torch import Tensor

CPU = torch.device("cpu")


class Shape(NamedTuple):
    """One parameter: its name, its shape, and the bound of its uniform initial values (0: constant `value`).

    One that is not `learned` is a statistic of the training rows: saved with the rest, its gradient always zero.
    """

    name: str
    size: tuple[int, ...]
    bound: float = 0.0
    value: float = 0.0
    learned: bool = True


def glorot(
    name: str, outputs: int, inputs: int, fan_out: int | None = None, fan_in: int | None = None
) -> Shape:
    """Weight (O, I) drawn uniformly within sqrt(6 / (fan_in + fan_out)) (Glorot & Bengio 2010).

    Packed weights hold several blocks; `fan_out` is then one block's, and `fan_in` counts all inputs of the layer.
    """
    return Shape(name, (outputs, inputs), math.sqrt(6.0 / ((fan_in or inputs) + (fan_out or outputs))))


@final
class Flat:
    """Named views into `data` and, at the same places, into `grad`; both are one-dimensional buffers."""

    def __init__(
        self,
        shapes: Sequence[Shape],
        generator: torch.Generator,
        dtype: torch.dtype,
        device: torch.device = CPU,
    ) -> None:
        self.shapes = tuple(shapes)
        total = sum(math.prod(shape.size) for shape in shapes)
        self.data = torch.zeros(total, dtype=dtype, device=device)
        self.grad = torch.zeros(total, dtype=dtype, device=device)
        self.views = _views(self.data, shapes)
        self.grads = _views(self.grad, shapes)
        for shape in shapes:
            view = self.views[shape.name]
            if shape.bound:
                # Drawn on the CPU in float64: a model starts at the same place whatever its dtype and device.
                draw = torch.rand(shape.size, generator=generator, dtype=torch.float64)
                view.copy_((2.0 * draw - 1.0) * shape.bound)
            else:
                view.fill_(shape.value)

    def fill(self, tensors: Mapping[str, Tensor]) -> None:
        """Copy named tensors in; raises KeyError or ValueError when a name is missing or a shape differs."""
        for shape in self.shapes:
            tensor = tensors[shape.name]
            if tuple(tensor.shape) != shape.size:
                raise ValueError(f"{shape.name} has shape {tuple(tensor.shape)}, expected {shape.size}")
            self.views[shape.name].copy_(tensor)


def _views(buffer: Tensor, shapes: Sequence[Shape]) -> dict[str, Tensor]:
    offset, views = 0, {}
    for shape in shapes:
        count = math.prod(shape.size)
        views[shape.name] = buffer[offset : offset + count].view(shape.size)
        offset += count
    return views
