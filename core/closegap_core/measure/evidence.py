"""log p(x) by annealing, and its certificate from both sides, in chunks of rows."""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, final

from closegap_core.config import AisConfig
from closegap_core.measure.ais import backward, estimate, forward, simulate, standard_error
from closegap_core.measure.estimators import Estimates
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.moments import Columns
from closegap_core.measure.stage import Found, Stage
from closegap_core.measure.subject import Portion
from closegap_core.model import Model

ROWS = 20
"""Rows that are annealed together, with all their chains."""


@final
class Annealed(Stage):
    """log p(x) by annealed importance sampling."""

    def __init__(self, portion: Portion, rows: int, ais: AisConfig) -> None:
        self.portion, self.ais, self.chunk = portion, ais, ROWS
        self.name, self.rows = f"ais.{portion.name}", rows
        self.step = 2 * ais.chains * ais.leapfrogs
        self.cost = self.step * ais.temperatures

    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        portion = self.portion
        walks = forward(portion.model, portion.batch(rows).x, self.ais, portion.seed, rows.start)
        for done, walk in enumerate(walks, 1):  # noqa: B007 the last one is what is wanted
            yield done * self.step
        return Estimates.of(estimate(walk), standard_error(walk).square()).columns("ais")


@final
class Certificate(Stage):
    """Both sides of log p(x) on rows simulated from the model (Grosse, Ghahramani & Adams 2015)."""

    name = "certificate"

    def __init__(self, model: Model, rows: int, ais: AisConfig, seed: int) -> None:
        self.model, self.rows, self.ais, self.seed, self.chunk = model, rows, ais, seed, ROWS
        self.step = 2 * ais.chains * ais.leapfrogs
        self.cost = 2 * self.step * ais.temperatures

    def measure(self, rows: range, found: Found) -> Generator[int, None, Columns]:
        noise, x = simulate(self.model, len(rows), self.seed, rows.start)
        done = 0
        for up in forward(self.model, x, self.ais, self.seed + 1, rows.start):  # noqa: B007 the last one
            done += self.step
            yield done
        for down in backward(self.model, x, noise, self.ais, self.seed + 2, rows.start):  # noqa: B007 the last one
            done += self.step
            yield done
        lower = Estimates.of(estimate(up), standard_error(up).square())
        upper = Estimates.of(-estimate(down), standard_error(down).square())
        return {**lower.columns("lower"), **upper.columns("upper")}

    def summary(self, ledger: Ledger) -> dict[str, Any]:
        """{"rows", "lower", "upper", "width"}."""
        columns = ledger.columns(self.name, "lower", "lower_variance", "upper", "upper_variance")
        lower, upper = Estimates.read(columns, "lower"), Estimates.read(columns, "upper")
        return {
            "rows": self.rows,
            "lower": lower.to_dict(),
            "upper": upper.to_dict(),
            "width": upper.minus(lower).to_dict(),
        }
