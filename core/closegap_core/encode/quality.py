"""What an exported encoder gives at which price: ELBO and rows a second by iteration, on validation rows.

`quality.json` of a bundle has what depends on the model alone, so that equal exports stay equal:

    {"format": 1, "rows": 256, "default": 5, "first": 1, "knee": 3,
     "points": [{"iterations": 0, "elbo": -540.1, "standard_error": 1.2}, …],
     "validation": {"iterations": 5, "elbo": […]}}        nats of each row at the default, lowest first

The knee is the fewest iterations that reach 95 % of what iterations gain over `first`: 1 where inference starts at the
prior, which is no encoding, else 0. It is null where there is one point.
"""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np

from closegap_core.durable import write_bytes
from closegap_core.encode.encoder import MOST_ITERATIONS, Encoder, Encoding
from closegap_core.errors import EncodeError

QUALITY = "quality.json"
FORMAT = 1
SHARE = 0.95
EVERY = 16
"""Numbers of iterations up to this are all measured; beyond it, each a quarter more than the one before."""
RUNS, LONGEST = 3, 0.3
"""Encodings that are timed for a rate, and seconds after which there is none more."""
KEPT = 2000
"""Rows whose ELBO is kept; of more, as many quantiles."""


class Quality(NamedTuple):
    """document: what `quality.json` holds; rates: rows a second by iterations, on one thread of this machine."""

    document: dict[str, Any]
    rates: dict[int, float]

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "quality", …}."""
        points = [
            {**point, "rows_per_second": self.rates[point["iterations"]]} for point in self.document["points"]
        ]
        return {"type": "quality", "rows": self.document["rows"], "points": points}

    def write(self, folder: Path) -> None:
        """Write `quality.json`. Raises StorageError."""
        text = json.dumps(self.document, indent=2, sort_keys=True, allow_nan=False)
        write_bytes(folder / QUALITY, (text + "\n").encode())


class Validation(NamedTuple):
    """ELBO of validation rows under an exported file, nats, lowest first."""

    iterations: int
    elbo: tuple[float, ...]

    @classmethod
    def read(cls, bundle: Path) -> Self | None:
        """From a bundle's `quality.json`; None where an export left none. Raises EncodeError when it is damaged."""
        path = bundle / QUALITY
        try:
            found = json.loads(path.read_bytes())["validation"]
            return cls(int(found["iterations"]), tuple(float(value) for value in found["elbo"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise EncodeError(f"{path} is damaged: {error}") from error


def quality(encoder: Encoder, rows: np.ndarray, first: int = 0) -> Quality:
    """Of rows (N, X) as the model sees them; first: iterations that gains are told over.

    Raises EncodeError where the ELBO is not finite at the file's default.
    """
    default = encoder.count(None)
    points: list[dict[str, Any]] = []
    rates: dict[int, float] = {}
    for count in _counts(encoder.info.iterations):
        found, seconds = _timed(encoder, rows, count)
        elbo = found.elbo.astype(np.float64)
        if not np.isfinite(elbo).all():
            if count == default:
                raise EncodeError(f"the ELBO of a validation row is not finite after {count} iterations")
            continue  # beyond what it was trained for a file may diverge, which is no price for anything
        if count == default:
            kept = np.sort(elbo) if len(elbo) <= KEPT else np.quantile(elbo, np.linspace(0, 1, KEPT))
        rates[count] = len(rows) / seconds
        error = float(elbo.std(ddof=1) / math.sqrt(len(elbo))) if len(elbo) > 1 else 0.0
        points.append({"iterations": count, "elbo": float(elbo.mean()), "standard_error": error})
    document = {
        "format": FORMAT,
        "rows": len(rows),
        "default": default,
        "first": first,
        "knee": knee([(p["iterations"], p["elbo"]) for p in points if p["iterations"] >= first]),
        "points": points,
        "validation": {"iterations": default, "elbo": [round(float(value), 4) for value in kept]},
    }
    return Quality(document, rates)


def _timed(encoder: Encoder, rows: np.ndarray, count: int) -> tuple[Encoding, float]:
    """An encoding and the seconds of the quickest of up to three: other work on the machine only slows one down."""
    quickest, spent = math.inf, 0.0
    for _ in range(RUNS):
        begun = time.perf_counter()
        found = encoder(rows, count, batch_size=len(rows))
        seconds = time.perf_counter() - begun
        quickest, spent = min(quickest, seconds), spent + seconds
        if spent > LONGEST:
            break
    return found, quickest


def knee(points: list[tuple[int, float]]) -> int | None:
    """The fewest iterations after which the ELBO has risen by 95 % of the way from the first to the highest."""
    if len(points) < 2:
        return None
    first, highest = points[0][1], max(elbo for _, elbo in points)
    return next(count for count, elbo in points if elbo >= first + SHARE * (highest - first))


def _counts(iterations: int | None) -> list[int]:
    """To twice the file's own number; 1 where it is one pass."""
    if iterations is None:
        return [1]
    last = max(1, min(2 * iterations, MOST_ITERATIONS))
    found = list(range(min(last, EVERY) + 1))
    while found[-1] < last:
        found.append(min(last, math.ceil(found[-1] * 1.25)))
    return sorted({*found, iterations})
