"""The tables that the demonstration ends with."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich.table import Table

from closegap.cli import words


def tables(summary: Mapping[str, Any]) -> tuple[Table, Table, Table]:
    """ELBO by iteration; what it comes to; the exported file and the encoding."""
    return _by_iteration(summary), _bounds(summary), _file(summary)


def _by_iteration(summary: Mapping[str, Any]) -> Table:
    standard, iterative = (summary[f"{model}.elbo_by_iteration"] for model in ("standard", "iterative"))
    trained = summary["iterative.iterations"]
    table = Table(title="ELBO by inference iteration", title_justify="left")
    table.add_column("iteration", justify="right")
    table.add_column("standard", justify="right")
    table.add_column("iterative", justify="right")
    for t, elbo in enumerate(iterative):
        label = "0 (prior)" if t == 0 else f"{t} (as trained)" if t == trained else str(t)
        one_pass = words.nats(standard[t]) if t < len(standard) else ""
        table.add_row(label, one_pass, words.nats(elbo), style="bold" if t == trained else "")
    return table


def _bounds(summary: Mapping[str, Any]) -> Table:
    table = Table(
        title=f"{summary['rows']} held-out digits, nats, mean ± standard error", title_justify="left"
    )
    table.add_column("")
    for name in ("standard", "iterative"):
        table.add_column(name, justify="right")
    table.add_column("difference", justify="right")
    samples = summary["iterative.iwae_samples"]
    rows = (
        ("ELBO", "elbo"),
        ("  log-likelihood", "log_likelihood"),
        ("  − KL", "kl"),
        (f"IWAE bound, {samples} samples", "iwae"),
        ("ELBO after Adam on each row's q", "refined_elbo"),
        ("amortization gap (at least)", "amortization_gap"),
    )
    for label, name in rows:
        values = [summary[f"{model}.{name}"] for model in ("standard", "iterative")]
        difference = "" if None in values else f"{values[1] - values[0]:+.2f}"
        errors = [summary.get(f"{model}.{name}_standard_error") for model in ("standard", "iterative")]
        shown = [
            words.nats(value) + ("" if error is None else f" ± {error:.2f}")
            for value, error in zip(values, errors, strict=True)
        ]
        table.add_row(label, *shown, difference)
    return table


def _file(summary: Mapping[str, Any]) -> Table:
    table = Table(title="The exported encoder", title_justify="left")
    table.add_column("")
    table.add_column("measured", justify="right")
    table.add_column("limit", justify="right")
    for name, label in (
        ("one_step", "parity: one iteration, worst row"),
        ("median_row", "parity: all iterations, median row"),
        ("elbo", "parity: ELBO, worst row"),
    ):
        if f"parity.{name}" in summary:
            table.add_row(label, f"{summary[f'parity.{name}']:.1e}", f"{summary[f'parity.{name}_limit']:.1e}")
    table.add_row("rows encoded", str(summary["encode.rows"]), "")
    table.add_row("encoding speed", words.rate(summary["encode.rows_per_second"], "row") or "–", "")
    table.add_row("mean ELBO of the encoded rows", words.nats(summary["encode.elbo"]), "")
    return table
