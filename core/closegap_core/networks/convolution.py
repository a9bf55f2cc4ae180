"""Convolutional networks between images and vectors, with a hand-written vector-Jacobian product.

Rows of data hold an image pixel by pixel, (height, width, channels); between layers a row is channel by channel,
(channels, height, width). One weight (inner channels, outer channels, K, K) is a convolution of the outer image one
way and its transpose, a transposed convolution of the inner image, the other way (Dumoulin & Visin 2016, chapter 4).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple, final

from torch import Tensor
from torch.nn import grad as gradients

from closegap_core.activations import ACTIVATIONS
from closegap_core.config import ConvolutionConfig, NetworkConfig
from closegap_core.errors import ConfigError
from closegap_core.networks.base import Network, Tape
from closegap_core.networks.mlp import Mlp, shared
from closegap_core.ops import TORCH, Ops, Value, Window
from closegap_core.parameters import Shape


class Image(NamedTuple):
    """The image in a row of data."""

    height: int
    width: int
    channels: int

    @classmethod
    def of(cls, shape: Sequence[int]) -> Image:
        """From the shape of a row. Raises ConfigError when that is no image."""
        if len(shape) not in (2, 3):
            raise ConfigError(
                f"a convolution needs images, (height, width) or (height, width, channels), but a row of the data has "
                f"the shape {tuple(shape)}; use a network of kind mlp"
            )
        return cls(shape[0], shape[1], shape[2] if len(shape) == 3 else 1)

    def to_channels(self, ops: Ops, rows: Value) -> Value:
        """(R, k height width channels) by pixels -> by channels, in each of the k blocks."""
        return rows if self.channels == 1 else ops.transpose(rows, self.height * self.width, self.channels)

    def to_pixels(self, ops: Ops, rows: Value) -> Value:
        """The reverse."""
        return rows if self.channels == 1 else ops.transpose(rows, self.channels, self.height * self.width)


def windows(config: ConvolutionConfig, image: Image, blocks: int = 1) -> tuple[Window, ...]:
    """The layers' geometry from the image inwards. Raises ConfigError when a stride does not divide a side."""
    outer, found = (image.channels * blocks, image.height, image.width), []
    for layer, channels in enumerate(config.channels, start=1):
        _, height, width = outer
        if height % config.stride or width % config.stride:
            raise ConfigError(
                f"layer {layer} of the convolution meets an image of {height} x {width}, which stride {config.stride} "
                f"does not divide; channels {list(config.channels)} of images of {image.height} x {image.width}: "
                f"give at most {layer - 1} channels, or another stride"
            )
        inner = (channels, height // config.stride, width // config.stride)
        found.append(Window(outer, inner, config.kernel, config.stride))
        outer = inner
    return tuple(found)


@final
class Convolution:
    """One layer: a convolution of the outer image, or (`transposed`) a transposed one of the inner image."""

    def __init__(self, name: str, window: Window, transposed: bool) -> None:
        self.name, self.window, self.transposed = name, window, transposed
        self.result = window.outer if transposed else window.inner

    def shapes(self) -> list[Shape]:
        """Weight and bias. The bound is Glorot's either way: an inner value sees K^2 of the outer image, an outer
        one (K / stride)^2 of the inner image."""
        (outer, *_), (inner, *_), kernel, stride = self.window
        bound = math.sqrt(6.0 / (outer * kernel**2 + inner * kernel**2 / stride**2))
        return [
            Shape(f"{self.name}.weight", (inner, outer, kernel, kernel), bound),
            Shape(f"{self.name}.bias", (self.result[0],)),
        ]

    def apply(self, ops: Ops, params: Mapping[str, Value], h: Value) -> Value:
        """(R, I) -> (R, O)."""
        run = ops.conv_transpose if self.transposed else ops.conv
        return run(h, params[f"{self.name}.weight"], params[f"{self.name}.bias"], self.window)

    def pull(self, ops: Ops, params: Mapping[str, Value], d: Value) -> Value:
        """Gradient at the result (R, O) -> gradient at the input (R, I)."""
        run = ops.conv if self.transposed else ops.conv_transpose
        return run(d, params[f"{self.name}.weight"], None, self.window)

    def accumulate(self, grads: Mapping[str, Tensor], h: Tensor, d: Tensor, scale: float) -> None:
        """Add scale * the gradients of weight and bias, from input (R, I) and gradient at the result (R, O)."""
        outer, inner = (d, h) if self.transposed else (h, d)
        weight, window = grads[f"{self.name}.weight"], self.window
        found: Tensor = gradients.conv2d_weight(  # type: ignore[no-untyped-call]
            outer.reshape(-1, *window.outer),
            tuple(weight.shape),
            inner.reshape(-1, *window.inner),
            window.stride,
            window.padding,
        )
        weight.add_(found, alpha=scale)
        grads[f"{self.name}.bias"].add_(d.reshape(len(d), self.result[0], -1).sum((0, 2)), alpha=scale)


def _connected(config: ConvolutionConfig) -> NetworkConfig:
    return NetworkConfig(hidden=config.hidden, activation=config.activation, connection=config.connection)


@final
class ImageDecoder(Network):
    """Fully connected layers to the innermost image, then transposed convolutions to `outputs` / X images."""

    def __init__(
        self, name: str, config: ConvolutionConfig, inputs: int, outputs: int, shape: Sequence[int]
    ) -> None:
        self.image = Image.of(shape)
        self.activation = ACTIVATIONS[config.activation]
        inwards = windows(config, self.image, outputs // math.prod(shape))
        self.layers = tuple(
            Convolution(f"{name}.image.{i}", window, transposed=True)
            for i, window in enumerate(reversed(inwards))
        )
        self.mlp = Mlp(name, _connected(config), (inputs,), math.prod(inwards[-1].inner))
        self.connected = len(self.mlp.layers) + 1

    def shapes(self) -> list[Shape]:
        return [*self.mlp.shapes(), *(shape for layer in self.layers for shape in layer.shapes())]

    def partial(self, ops: Ops, params: Mapping[str, Value], group: int, h: Value) -> Value:
        return self.mlp.partial(ops, params, group, h)

    def forward(
        self, ops: Ops, params: Mapping[str, Value], h: Value | None, partial: Value | None = None
    ) -> tuple[Value, list[Tape]]:
        pre, tapes = self.mlp.forward(ops, params, h, partial)
        for layer in self.layers:
            tapes.append(Tape(self.activation.apply(ops, pre)))
            pre = layer.apply(ops, params, tapes[-1].input)
        return self.image.to_pixels(ops, pre), tapes

    def backward(
        self, ops: Ops, params: Mapping[str, Value], tapes: Sequence[Tape], d: Value, to_input: bool = True
    ) -> tuple[Value | None, list[Value]]:
        d, deltas = self.image.to_channels(ops, d), []
        for layer, tape in zip(reversed(self.layers), reversed(tapes[self.connected :]), strict=True):
            deltas.append(d)
            d = self.activation.pull(ops, layer.pull(ops, params, d), tape.input)
        d_input, connected = self.mlp.backward(ops, params, tapes[: self.connected], d, to_input)
        return d_input, connected + deltas[::-1]

    def accumulate(
        self, grads: Mapping[str, Tensor], tapes: Sequence[Tape], deltas: Sequence[Tensor], scale: float
    ) -> None:
        at = self.connected
        self.mlp.accumulate(grads, tapes[:at], deltas[:at], scale)
        for layer, tape, delta in zip(self.layers, tapes[at:], deltas[at:], strict=True):
            layer.accumulate(grads, tape.input, delta, scale)

    def accumulate_partial(
        self,
        params: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        group: int,
        h: Tensor,
        delta: Tensor,
        scale: float,
    ) -> None:
        self.mlp.accumulate_partial(params, grads, group, h, delta, scale)


@final
class ImageEncoder(Network):
    """Convolutions of the data, group 0; whatever varies, group 1, enters at the first fully connected layer.

    So the convolutions run once a row whatever the number of iterations, in `partial`. They run again in
    `accumulate_partial`, rather than being kept meanwhile.
    """

    def __init__(
        self,
        name: str,
        config: ConvolutionConfig,
        varying: int,
        outputs: int,
        heads: int,
        shape: Sequence[int],
    ) -> None:
        self.image = Image.of(shape)
        self.activation = ACTIVATIONS[config.activation]
        inwards = windows(config, self.image)
        self.layers = tuple(
            Convolution(f"{name}.image.{i}", window, transposed=False) for i, window in enumerate(inwards)
        )
        self.mlp = Mlp(name, _connected(config), (math.prod(inwards[-1].inner), varying), outputs, heads)

    def shapes(self) -> list[Shape]:
        return [*(shape for layer in self.layers for shape in layer.shapes()), *self.mlp.shapes()]

    def _maps(self, ops: Ops, params: Mapping[str, Value], x: Value) -> list[Value]:
        """The image (R, X) by channels, and what each layer makes of it."""
        maps = [self.image.to_channels(ops, x)]
        for layer in self.layers:
            maps.append(self.activation.apply(ops, layer.apply(ops, params, maps[-1])))
        return maps

    def partial(self, ops: Ops, params: Mapping[str, Value], group: int, h: Value) -> Value:
        h = h if group else self._maps(ops, params, h)[-1]
        return self.mlp.partial(ops, params, group, h)

    def forward(
        self, ops: Ops, params: Mapping[str, Value], h: Value | None, partial: Value | None = None
    ) -> tuple[Value, list[Tape]]:
        return self.mlp.forward(ops, params, h, partial)

    def backward(
        self, ops: Ops, params: Mapping[str, Value], tapes: Sequence[Tape], d: Value, to_input: bool = True
    ) -> tuple[Value | None, list[Value]]:
        return self.mlp.backward(ops, params, tapes, d, to_input)

    def accumulate(
        self, grads: Mapping[str, Tensor], tapes: Sequence[Tape], deltas: Sequence[Tensor], scale: float
    ) -> None:
        self.mlp.accumulate(grads, tapes, deltas, scale)

    def accumulate_partial(
        self,
        params: Mapping[str, Tensor],
        grads: Mapping[str, Tensor],
        group: int,
        h: Tensor,
        delta: Tensor,
        scale: float,
    ) -> None:
        if group:
            self.mlp.accumulate_partial(params, grads, group, h, delta, scale)
            return
        maps, delta = self._maps(TORCH, params, h), shared(delta, h.shape[0])
        self.mlp.accumulate_partial(params, grads, group, maps[-1], delta, scale)
        d = TORCH.matmul(delta, params[self.mlp.first_weight(group)])
        for i in range(len(self.layers) - 1, -1, -1):
            d = self.activation.pull(TORCH, d, maps[i + 1])
            self.layers[i].accumulate(grads, maps[i], d, scale)
            d = self.layers[i].pull(TORCH, params, d) if i else d
