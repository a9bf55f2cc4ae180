"""What a measurement was made of: two of them are comparable where these agree."""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np

from closegap_core.measure.subject import Subject


def identity(subject: Subject) -> dict[str, Any]:
    """Of the figures on all rows. rows_digest: sha256 (hex) of the measured rows' numbers in the source."""
    evaluation, dataset = subject.evaluation, subject.dataset
    count = subject.size(evaluation.part, evaluation.rows)
    ids = np.ascontiguousarray(subject.part(evaluation.part).ids[:count].astype("<i8"))
    return {
        "likelihood": subject.trained.config.model.likelihood.kind,
        "source": dataset.source,
        "data_digest": dataset.digest,
        "draw": subject.draw,
        "part": evaluation.part,
        "rows": count,
        "rows_digest": hashlib.sha256(ids.tobytes()).hexdigest(),
        "samples": evaluation.samples,
        "importance_samples": evaluation.importance_samples,
        "seed": evaluation.seed,
    }
