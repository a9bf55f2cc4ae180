"""The demonstration's figures by name, read from what its jobs left; what `summary.json` holds.

    {standard,iterative}.elbo, .elbo_standard_error, .log_likelihood, .kl     nats, mean over the held-out rows
    {standard,iterative}.elbo_by_iteration      list; entry t is after t inference iterations, entry 0 is the prior
    {standard,iterative}.iwae, .iwae_standard_error, .iwae_samples            the IWAE bound with K samples
    {standard,iterative}.refined_elbo           after Adam on each row's q, the best of its runs
    {standard,iterative}.amortization_gap       refined_elbo - elbo: what the inference model leaves
    {standard,iterative}.valid_elbo, .epochs, .iterations
    difference.elbo, difference.iwae            iterative - standard
    parity.*                                    of the exported file against the trained model
    encode.rows, encode.rows_per_second, encode.elbo
    seconds.<job>, seconds.total                wall time
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from closegap.artifacts import ArtifactStore
    from closegap.job import Job

MODELS = ("standard", "iterative")
