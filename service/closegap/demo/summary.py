"""The demonstration's figures by name, read from what its jobs left; what `summary.json` holds.

`standard.…` and `iterative.…`, each of a model on the held-out rows, in nats, means over rows:
    elbo, elbo_standard_error, log_likelihood, kl
    elbo_by_iteration                     a list: entry t is after t inference iterations, entry 0 is the prior
    iwae, iwae_standard_error, iwae_samples
    refined_elbo, amortization_gap        after Adam on each row's own q; refined_elbo - elbo
    valid_elbo, epochs, iterations        of training
`difference.elbo`, `difference.iwae`      iterative - standard
`parity.one_step`, `parity.median_row`, `parity.elbo`   errors of the exported file, each with its `…_limit`;
`parity.rows`, `parity.passed`
`encode.rows`, `encode.rows_per_second`, `encode.elbo`, `encode.elbo_standard_error`
`seconds.<job>`, `seconds.total`          wall time; each job's from its first start to its end
`rows`                                    held-out rows
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from closegap.demo import parity

MODELS = ("standard", "iterative")


@dataclass(frozen=True)
class Results:
    """What the six jobs left: folders of their bundles by job name, their seconds, and the encoding's rate."""

    folders: Mapping[str, Path]
    seconds: Mapping[str, float]
    rows_per_second: float | None


def figures(results: Results) -> dict[str, Any]:
    """The figures by name, flat."""
    found = {
        f"{model}.{name}": value for model in MODELS for name, value in _model(results.folders, model).items()
    }
    encoded = read(results.folders["encode"])
    return {
        "rows": read(results.folders["evaluate-iterative"])["rows"],
        **found,
        "difference.elbo": found["iterative.elbo"] - found["standard.elbo"],
        "difference.iwae": found["iterative.iwae"] - found["standard.iwae"],
        **{f"parity.{name}": value for name, value in parity.flat(results.folders["export"]).items()},
        "encode.rows": encoded["rows"],
        "encode.rows_per_second": results.rows_per_second,
        "encode.elbo": encoded["elbo"],
        "encode.elbo_standard_error": encoded["elbo_standard_error"],
        **{f"seconds.{name}": round(value, 2) for name, value in results.seconds.items()},
    }


def read(folder: Path) -> dict[str, Any]:
    """`metrics.json` of a bundle."""
    value: dict[str, Any] = json.loads((folder / "metrics.json").read_text(encoding="utf-8"))
    return value


def _model(folders: Mapping[str, Path], model: str) -> dict[str, Any]:
    trained, measured = read(folders[f"train-{model}"])["summary"], read(folders[f"evaluate-{model}"])
    refinement = measured["refinement"] or {}
    return {
        **{name: measured[name] for name in ("elbo", "elbo_standard_error", "log_likelihood", "kl")},
        "elbo_by_iteration": [point["elbo"] for point in measured["elbo_by_iteration"]],
        "iwae": measured["iwae"]["value"],
        "iwae_standard_error": measured["iwae"]["standard_error"],
        "iwae_samples": measured["iwae"]["samples"],
        "refined_elbo": refinement.get("best"),
        "amortization_gap": refinement.get("amortization_gap"),
        "valid_elbo": trained["valid_elbo"],
        "epochs": trained["epochs"],
        "iterations": measured["iterations"],
    }
