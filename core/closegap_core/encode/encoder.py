"""Rows to approximate posteriors with an exported encoder, by numpy and ONNX Runtime alone.

encoder = Encoder(Path("encoder.onnx"))
encoding = encoder(x)                          # x (N, X) float32 -> mean, log_var (N, Z), elbo (N,)
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from closegap_core.data.draw import Draw
from closegap_core.errors import EncodeError

PREFIX = "closegap."
FORMAT = 1
MOST_ITERATIONS = 10_000

_UNREADABLE = (
    ort_errors.Fail,
    ort_errors.InvalidArgument,
    ort_errors.InvalidGraph,
    ort_errors.InvalidProtobuf,
    ort_errors.NoModel,
    ort_errors.NotImplemented,
    ort_errors.RuntimeException,
)
"""What a damaged file raises; ONNX Runtime's errors have no base of their own."""


class EncoderInfo(NamedTuple):
    """What a file says about itself. width: X; latent: Z; shape: of one row of the training data.

    unit_interval: values must lie in [0, 1]; binarise: the model was trained on x ~ Bernoulli(row); draw: what is drawn
    of stored rows before they are encoded; iterations: the default, None where the encoder is one pass; metadata: all
    of it, by name without the prefix.
    """

    width: int
    latent: int
    shape: tuple[int, ...]
    likelihood: str
    unit_interval: bool
    binarise: bool
    draw: Draw
    iterations: int | None
    metadata: Mapping[str, Any]


class Encoding(NamedTuple):
    """q(z|x) of N rows: mean, log_var (N, Z) and elbo (N,) in nats, float32; iterations (N,) int32."""

    mean: np.ndarray
    log_var: np.ndarray
    elbo: np.ndarray
    iterations: np.ndarray


@final
class Encoder:
    """An exported encoder, ready to run on `threads` CPU threads."""

    def __init__(self, file: Path | bytes, threads: int = 1) -> None:
        """`file` is the path of an encoder.onnx, or its bytes.

        Raises EncodeError when it cannot be read, is damaged, or was not exported by closegap.
        """
        place = str(file) if isinstance(file, Path) else "the given bytes"
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3  # else it warns of every input that has a default
        try:
            content = file.read_bytes() if isinstance(file, Path) else file
            self._session = onnxruntime.InferenceSession(content, options, ["CPUExecutionProvider"])
        except OSError as error:
            raise EncodeError(f"encoder {place} cannot be read: {error.strerror}") from error
        except _UNREADABLE as error:
            raise EncodeError(f"encoder {place} is damaged or no ONNX file: {error}") from error
        self.info = _info(self._session.get_modelmeta().custom_metadata_map, place)

    def __call__(self, x: np.ndarray, iterations: int | None = None, batch_size: int = 256) -> Encoding:
        """Encode rows x (N, X) float32, `batch_size` at a time; no row depends on another.

        iterations: of inference, absent: the file's default. Raises EncodeError, naming row and column, when x does
        not fit the model, and when `iterations` mean nothing to it.
        """
        check_rows(x, self.info)
        count = self.count(iterations)
        if batch_size < 1:
            raise EncodeError(f"batch_size is {batch_size}; accepted is 1 or more")
        feeds = {} if self.info.iterations is None else {"iterations": np.array(count, np.int64)}
        parts = [
            self._session.run(["mean", "log_var", "elbo"], {"x": x[first : first + batch_size], **feeds})
            for first in range(0, len(x), batch_size)
        ]
        mean, log_var, elbo = (np.concatenate(part) for part in zip(*parts, strict=True))
        return Encoding(mean, log_var, elbo, np.full(len(x), count, np.int32))

    def count(self, asked: int | None) -> int:
        """The iterations that `asked` comes to; None is the file's default. Raises EncodeError."""
        if self.info.iterations is None:
            if asked not in (None, 1):
                raise EncodeError(f"iterations is {asked}, but a standard encoder is one pass; leave it out")
            return 1
        count = self.info.iterations if asked is None else asked
        if not 0 <= count <= MOST_ITERATIONS:
            raise EncodeError(f"iterations is {count}; accepted are 0 to {MOST_ITERATIONS}")
        return count


def check_rows(x: np.ndarray, info: EncoderInfo, stored: bool = False) -> None:
    """Raise EncodeError unless x is (N, X) float32 with N > 0 and values that the model accepts.

    stored: x are rows of which `info.draw` is still to be made, so bytes where the model saw dequantised ones.
    """
    if not isinstance(x, np.ndarray) or x.dtype != np.float32:
        found = x.dtype if isinstance(x, np.ndarray) else type(x).__name__
        raise EncodeError(f"rows must be a float32 array, got {found}; convert with `x.astype('float32')`")
    if x.ndim != 2 or x.shape[1] != info.width:
        raise EncodeError(
            f"rows have shape {x.shape}; this encoder reads (N, {info.width}), each row of shape {info.shape} "
            "flattened, as in `x.reshape(len(x), -1)`"
        )
    if len(x) == 0:
        raise EncodeError(f"there are no rows to encode: the shape is {x.shape}")
    _refuse(x, ~np.isfinite(x), "a finite number")
    if info.likelihood == "multinomial":
        _refuse(x, (x < 0) | (x != np.floor(x)), "a word count: 0 or a positive whole number")
    elif stored and info.draw in ("dequantise", "dequantise_legacy"):
        _refuse(x, (x < 0) | (x > 255) | (x != np.floor(x)), "a grey level: a whole number from 0 to 255")
    elif info.unit_interval:
        _refuse(x, (x < 0) | (x > 1), f"in [0, 1], as the {info.likelihood} likelihood needs")


def _refuse(x: np.ndarray, bad: np.ndarray, accepted: str) -> None:
    if bad.any():
        row, column = (int(place) for place in np.argwhere(bad)[0])
        raise EncodeError(f"row {row}, column {column} is {x[row, column]!s}; every value must be {accepted}")


def _info(properties: Mapping[str, str], place: str) -> EncoderInfo:
    try:
        metadata = {
            name.removeprefix(PREFIX): json.loads(value)
            for name, value in properties.items()
            if name.startswith(PREFIX)
        }
        if metadata.get("format_version") != FORMAT:
            found = metadata.get("format_version")
            raise EncodeError(
                f"encoder {place} was not exported by closegap for format {FORMAT}: it has {found}"
            )
        rows = metadata["preprocess"]
        return EncoderInfo(
            width=int(rows["width"]),
            latent=int(metadata["latent"]),
            shape=tuple(int(size) for size in rows["shape"]),
            likelihood=str(rows["likelihood"]),
            unit_interval=rows["range"] is not None,
            binarise=bool(rows["binarise"]),
            draw=rows.get("draw", "binarise" if rows["binarise"] else "none"),
            iterations=metadata["iterations"],
            metadata=metadata,
        )
    except (ValueError, KeyError, TypeError) as error:
        raise EncodeError(f"encoder {place} has damaged metadata: {error}") from error
