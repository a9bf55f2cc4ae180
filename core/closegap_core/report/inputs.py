"""What a report is made of: the figures and arrays that training, evaluation, export and encoding leave behind.

Every key that the page uses is named here and checked on reading; other keys are ignored. Nats, means over rows.
"""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any, Self, TypeVar, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pydantic import BaseModel, Field, ValidationError

from closegap_core.errors import CoreError
from closegap_core.report.base import Count, Input, Nats
from closegap_core.report.measured import Frontier, Gradient, PartGaps, Paths, SurfaceArrays, Units

Checked = TypeVar("Checked", bound=BaseModel)


class ReportError(CoreError):
    """A report lacks something it is made of: names the file, the key and what is expected there."""


@final
class Terms(Input):
    """ELBO = log-likelihood − KL, of one part of the data."""

    elbo: Nats
    log_likelihood: Nats
    kl: Nats


@final
class Epoch(Input):
    """One entry of a training history."""

    epoch: Count
    train: Terms
    valid: Terms
    seconds: Nats


@final
class Iteration(Input):
    """ELBO after so many inference iterations; 0 is the prior."""

    iteration: Count
    elbo: Nats
    standard_error: Nats


@final
class Step(Input):
    """ELBO after so many Adam steps on each row's own q."""

    step: Count
    elbo: Nats


@final
class Iwae(Input):
    """Importance weighted bound with `samples` samples (Burda, Grosse & Salakhutdinov 2016)."""

    value: Nats
    standard_error: Nats
    samples: Count


@final
class Refinement(Input):
    """Adam on each row's own q, from the prior and from where the encoder ended."""

    from_prior: tuple[Step, ...] = Field(min_length=1)
    from_encoder: tuple[Step, ...] = Field(min_length=1)
    best: Nats
    amortization_gap: Nats


@final
class Evaluation(Input):
    """`metrics.json` of an evaluation."""

    method: str
    part: str
    rows: Count
    samples: Count
    iterations: Count
    data_digest: str
    elbo: Nats
    elbo_standard_error: Nats
    log_likelihood: Nats
    kl: Nats
    elbo_by_iteration: tuple[Iteration, ...] = Field(min_length=2)
    iwae: Iwae
    refinement: Refinement | None
    gaps: dict[str, PartGaps] | None = None
    frontier: Frontier | None = None
    active_units: Units | None = None
    kl_by_dimension: tuple[Nats, ...] | None = None
    gradient_by_iteration: tuple[Gradient, ...] | None = None
    surface: Paths | None = None
    verdict: tuple[str, ...] = ()


@final
class Pictures(Input):
    """`arrays.npz` of an evaluation. Rows are flat; `shape` is that of one row."""

    originals: np.ndarray
    """(R, X)"""
    reconstructions: np.ndarray
    """(T + 1, R, X): means of p(x | mean of q) at iterations 0 … T"""
    prior_samples: np.ndarray
    """(N, X): means of p(x | z), z from the prior"""
    shape: tuple[int, ...]
    surface: SurfaceArrays | None = None

    @classmethod
    def read(cls, path: Path) -> Self:
        """Raises ReportError when an array is missing or of another shape."""
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                arrays = {
                    name: file[name] for name in ("originals", "reconstructions", "prior_samples", "shape")
                }
                surface = SurfaceArrays.among(file)
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ReportError(f"{path} does not hold the arrays of an evaluation: {error}") from error
        shape = tuple(int(side) for side in arrays.pop("shape"))
        width = int(np.prod(shape))
        for name, axes in (("originals", 2), ("reconstructions", 3), ("prior_samples", 2)):
            found = arrays[name].shape
            if len(found) != axes or found[-1] != width:
                raise ReportError(
                    f"{path}: {name} has shape {found}; expected {axes} axes, the last of {width}"
                )
        return cls(shape=shape, surface=surface, **arrays)


@final
class ModelReport(Input):
    """A trained and evaluated model, under the name by which the page speaks of it."""

    name: str
    history: tuple[Epoch, ...] = Field(min_length=1)
    evaluation: Evaluation
    pictures: Pictures

    @classmethod
    def read(cls, name: str, trained: Path, evaluated: Path) -> Self:
        """From the bundle that `train` and the one that `evaluate` left. Raises ReportError."""
        trained_metrics = _json(trained / "metrics.json")
        values = {
            "name": name,
            "history": trained_metrics.get("history"),
            "evaluation": _json(evaluated / "metrics.json"),
        }
        return _checked(cls, {**values, "pictures": Pictures.read(evaluated / "arrays.npz")}, f"model {name}")


@final
class Check(Input):
    """One comparison of an exported file with the model it came from; relative errors of a row."""

    name: str
    file: Nats
    """Error of the file against the float64 oracle."""
    model: Nats
    """Error of the trained float32 model against the same oracle."""
    limit: Nats | None
    """What the file's error may be at most; None where a quantile below the worst row was judged."""


@final
class EncodingReport(Input):
    """An encoded data set: the ELBO that the exported file reports for each row, and how far it can be trusted."""

    elbo: np.ndarray
    """(N,)"""
    rows_per_second: Nats | None = None
    checks: tuple[Check, ...] = ()

    @classmethod
    def read(cls, encoded: Path, exported: Path | None, rows_per_second: float | None = None) -> Self:
        """From the bundle that `encode` left and, for the checks, the one that `export` left. Raises ReportError."""
        shards = sorted(encoded.glob("*.parquet"))
        try:
            parts = [pq.read_table(shard, columns=["elbo"])["elbo"].to_numpy() for shard in shards]
            elbo = np.concatenate(parts) if parts else np.zeros(0, np.float32)
        except (OSError, pa.ArrowException, KeyError) as error:
            raise ReportError(f"{encoded} does not hold an encoding: {error}") from error
        if not len(elbo) or not np.isfinite(elbo).all():
            raise ReportError(f"{encoded} has {len(elbo)} rows in {len(shards)} files; expected finite ELBOs")
        checks = () if exported is None else _checks(exported / "parity.json")
        return cls(elbo=elbo, rows_per_second=rows_per_second, checks=checks)


def _by_number(item: tuple[str, Any]) -> tuple[str, int]:
    """`batch of 3` before `batch of 33`, whatever the file's order."""
    words = re.sub(r"\d+", "", item[0])
    return words, int("".join(re.findall(r"\d+", item[0])) or 0)


def _checks(path: Path) -> tuple[Check, ...]:
    """The comparisons of an export, as its gate judged them."""
    parity = _json(path)
    try:
        limits = parity["limits"]
        worst_is_judged = limits["quantile_of_worst_row"] == 1.0
        factor = limits["times_the_model's_own_error"]

        def check(name: str, figures: dict[str, float], statistic: str, limit: float) -> Check:
            file, model = figures[f"file_{statistic}"], figures[f"model_{statistic}"]
            judged = statistic == "median" or worst_is_judged
            row = "median row" if statistic == "median" else "worst row"
            accepted = max(limit, factor * model) if judged else None
            return Check(name=f"{name}, {row}", file=file, model=model, limit=accepted)

        found: list[Check] = []
        for name, figures in sorted(parity["checks"].items(), key=_by_number):
            if "posterior" in figures:
                found.append(check(f"q after {name}", figures["posterior"], "median", limits["median_row"]))
                found.append(check(f"ELBO after {name}", figures["elbo"], "max", limits["elbo"]))
            elif name.startswith("batch"):
                found.append(check(f"{name} against all rows", figures, "median", limits["median_row"]))
            elif "file_max" in figures:
                found.append(check(name, figures, "max", limits["one_step"]))
    except (KeyError, TypeError, AttributeError) as error:
        raise ReportError(f"{path} is not the parity of an export: {error!r}") from error
    return tuple(found)


def _json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ReportError(f"{path} cannot be read: {error}") from error
    if not isinstance(value, dict):
        raise ReportError(f"{path} holds {type(value).__name__}; expected an object")
    return value


def _checked(model: type[Checked], values: dict[str, Any], where: str) -> Checked:
    try:
        return model.model_validate(values)
    except ValidationError as error:
        problems = [f"  {'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors()]
        raise ReportError("\n".join([f"{where} lacks what a report needs:", *problems])) from error
