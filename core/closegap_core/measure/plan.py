"""What an evaluation consists of: its stages in the order in which they need one another, and their summary."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from closegap_core.config import EvaluationConfig, OptimumConfig
from closegap_core.measure.evidence import Certificate
from closegap_core.measure.frontier import Frontier
from closegap_core.measure.gaps import Gaps, certificate_of, gap_report, gap_stages
from closegap_core.measure.identity import identity
from closegap_core.measure.iterations import Iterations
from closegap_core.measure.ledger import Ledger
from closegap_core.measure.moments import moments
from closegap_core.measure.optimum import Optimum
from closegap_core.measure.pictures import pictures
from closegap_core.measure.refinement import Refinement
from closegap_core.measure.stage import Stage
from closegap_core.measure.subject import Subject
from closegap_core.measure.surface import Surface
from closegap_core.measure.verdict import of_evaluation


class Plan(NamedTuple):
    """`others` need nothing but what stands before them."""

    subject: Subject
    iterations: Iterations
    refinement: Refinement | None
    certificate: Certificate | None
    frontier: Frontier | None
    surface: Surface | None
    others: Sequence[Stage]

    @classmethod
    def of(cls, subject: Subject) -> Plan:
        """Raises DataError when rows do not fit the model."""
        evaluation = subject.evaluation
        gaps, refinement = evaluation.gaps, evaluation.refinement
        return cls(
            subject,
            Iterations(subject),
            None if refinement is None else Refinement(subject, refinement),
            None if gaps is None else certificate_of(subject.model, gaps, evaluation.seed),
            None if evaluation.frontier is None else Frontier(subject, evaluation.frontier),
            None if evaluation.surface is None else Surface(subject, evaluation.surface),
            [stage for part, rows in _parts(evaluation).items() for stage in _of_part(subject, part, rows)],
        )

    def stages(self) -> list[Stage]:
        own = (self.iterations, self.refinement, *self.others, self.frontier, self.surface, self.certificate)
        return [stage for stage in own if stage is not None]

    def summary(self, ledger: Ledger) -> dict[str, Any]:
        """What `metrics.json` holds, from what the stages found."""
        subject, evaluation = self.subject, self.subject.evaluation
        own = self.iterations.summary(moments(ledger.parts(self.iterations.name)))
        refinement = None
        if self.refinement is not None:
            refinement = self.refinement.summary(moments(ledger.parts(self.refinement.name)), own["elbo"])
        found = {
            "method": subject.trained.config.inference.method,
            "part": evaluation.part,
            "rows": self.iterations.rows,
            "data_digest": subject.dataset.digest,
            "identity": identity(subject),
            "samples": evaluation.samples,
            "trained_iterations": subject.model.method.iterations,
            "iterations": subject.iterations,
            **own,
            "refinement": refinement,
            "frontier": None if self.frontier is None else self.frontier.summary(ledger),
            "surface": None if self.surface is None else self.surface.summary(),
            "gaps": self._gaps(ledger),
        }
        return {**found, "verdict": of_evaluation(found)}

    def arrays(self, ledger: Ledger) -> dict[str, np.ndarray]:
        """What `arrays.npz` holds."""
        surface = {} if self.surface is None else self.surface.arrays(ledger)
        gaps = [found.arrays(part) for part, found in self._found(ledger).items()]
        rows = {name: values for found in gaps for name, values in found.items()}
        return {**pictures(self.subject), **self.iterations.arrays(ledger), **surface, **rows}

    def _gaps(self, ledger: Ledger) -> dict[str, Any] | None:
        """The gap report of each part that is asked for, by its name."""
        if self.subject.evaluation.gaps is None:
            return None
        certificate = None if self.certificate is None else self.certificate.summary(ledger)
        return {
            part: gap_report(ledger, part, found, certificate) for part, found in self._found(ledger).items()
        }

    def _found(self, ledger: Ledger) -> dict[str, Gaps]:
        """What was found of each part that is asked for, by its name."""
        gaps, richer = self.subject.evaluation.gaps, self.subject.model.method.auxiliary > 0
        return {part: Gaps.read(ledger, part, gaps, richer) for part in gaps.parts} if gaps else {}


def _parts(evaluation: EvaluationConfig) -> dict[str, int]:
    """How many rows of which part need their q*."""
    gaps, frontier = evaluation.gaps, evaluation.frontier
    parts: dict[str, int] = {} if gaps is None else dict.fromkeys(gaps.parts, gaps.rows)
    for other in (frontier, evaluation.surface):
        if other is not None:
            parts[evaluation.part] = max(parts.get(evaluation.part, 0), other.rows)
    return parts


def _of_part(subject: Subject, part: str, rows: int) -> list[Stage]:
    gaps, portion = subject.evaluation.gaps, subject.portion(part, rows)
    if gaps is None:
        return [Optimum(portion, OptimumConfig())]
    return [Optimum(portion, gaps.optimum), *(gap_stages(portion, gaps) if part in gaps.parts else ())]
