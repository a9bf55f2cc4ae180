"""Arrays to posteriors: rows are checked against what the encoder reads, sent in parts, and put together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple, final

from closegap.client.documents import EncoderFacts, Posteriors
from closegap.client.errors import InvalidRows

if TYPE_CHECKING:
    import numpy as np

_BYTES_A_VALUE = 24
"""Of a number in JSON, at most, and its comma."""
_SHARE = 0.9
"""Of the largest body; the rest is for what stands around the rows."""


@final
class Encoding(NamedTuple):
    """q(z|x) of N rows, a diagonal Gaussian each: mean, log_var (N, Z), elbo (N,) in nats, float32; and by what."""

    mean: np.ndarray
    log_var: np.ndarray
    elbo: np.ndarray
    iterations: int
    model: str
    version: int
    digest: str


def encode(
    rows: Any, facts: EncoderFacts, iterations: int | None, send: Callable[[Any], Posteriors]
) -> Encoding:
    """Encode rows (N, X), or (N, *shape), by `send`, which is given plain lists. Raises InvalidRows, ClientError."""
    import numpy as np

    x = checked(rows, facts)
    size = chunk(facts, iterations)
    parts = [send(x[first : first + size].tolist()) for first in range(0, len(x), size)]
    digests = {part.digest for part in parts}
    if len(digests) > 1:
        raise InvalidRows(
            f"`{facts.model}` became another version while rows were encoded; encode them again"
        )

    def whole(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(part, name), np.float32) for part in parts])

    last = parts[-1]
    return Encoding(
        whole("mean"), whole("log_var"), whole("elbo"), last.iterations, last.model, last.version, last.digest
    )


def checked(rows: Any, facts: EncoderFacts) -> np.ndarray:
    """Rows as float32 (N, X), each in the shape of the training data or flat.

    Raises InvalidRows, naming row and column: another shape, values that are not finite, or not what the model accepts.
    """
    import numpy as np

    try:
        with np.errstate(over="ignore"):  # too large for float32 is infinite, which is refused with its place
            x = np.asarray(rows).astype(np.float32)
    except (TypeError, ValueError) as error:
        raise InvalidRows(f"rows are no array of numbers: {error}") from error
    if x.shape[1:] == facts.shape:
        x = x.reshape(len(x), -1)
    if x.ndim != 2 or x.shape[1] != facts.width:
        shapes = f"(N, {facts.width})" + (f" or (N, {', '.join(map(str, facts.shape))})")
        raise InvalidRows(f"rows have shape {np.shape(rows)}; `{facts.model}` reads {shapes}")
    if not len(x):
        raise InvalidRows("there are no rows to encode")
    _refuse(x, ~np.isfinite(x), "a finite number")
    if facts.likelihood == "multinomial":
        _refuse(x, (x < 0) | (x != np.floor(x)), "a word count: 0 or a positive whole number")
    elif facts.unit_interval:
        _refuse(x, (x < 0) | (x > 1), f"in [0, 1], as the {facts.likelihood} likelihood needs")
    return x


def chunk(facts: EncoderFacts, iterations: int | None) -> int:
    """Rows of one request: as many as the service takes by number, work and bytes."""
    count = max(1, iterations if iterations is not None else facts.iterations or 1)
    by_work = facts.most_values // (facts.width * count)
    by_bytes = int(_SHARE * facts.most_bytes) // (facts.width * _BYTES_A_VALUE)
    return max(1, min(facts.most_rows, by_work, by_bytes))


def _refuse(x: np.ndarray, bad: np.ndarray, accepted: str) -> None:
    if bad.any():
        row, column = (int(places[0]) for places in bad.nonzero())
        raise InvalidRows(f"row {row}, column {column} is {x[row, column]!s}; every value must be {accepted}")
