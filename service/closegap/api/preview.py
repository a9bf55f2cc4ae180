"""Reconstructions over inference iterations: of a training while it goes on, of an evaluation once it is over."""

from __future__ import annotations

import base64
import io
import json
from typing import Any, final

from fastapi import APIRouter
from pydantic import BaseModel, Field, ValidationError

from closegap.api import workplace
from closegap.api.context import Context, Ctx
from closegap.api.documents import JobName, answers
from closegap.api.identity import Viewer
from closegap.api.problem import Answer
from closegap.api.sessions import verified
from closegap.errors import NotFound
from closegap.job import Job
from closegap_core.bundle import Bundle
from closegap_core.errors import BundleError

FILE, ARRAYS = "preview.json", "arrays.npz"
PICTURED = 8
router = APIRouter(tags=["metrics"])


@final
class Preview(BaseModel):
    """A few rows, and what the decoder makes of q after some of the iterations."""

    epoch: int | None = Field(None, description="Of a training: after which.")
    rows: int
    shape: list[int] = Field(description="Of one row; (H, W), (H, W, 1) and (H, W, 3) are pictures.")
    iterations: list[int] = Field(description="Those that are shown.")
    elbo: list[list[float | None]] | None = Field(None, description="Nats, by shown iteration, then by row.")
    low: float = Field(description="What byte 0 stands for.")
    high: float = Field(description="What byte 255 stands for.")
    originals: str = Field(description="Base64 of rows x values bytes.")
    reconstructions: list[str] = Field(description="Likewise, by shown iteration.")
    measured_rows: int | None = Field(None, description="Rows that the lists below are over.")
    kl_by_dimension: list[float | None] | None = Field(None, description="(Z,) nats.")
    posterior_variance: list[float | None] | None = Field(
        None, description="(Z,) variance over rows of the mean of q."
    )
    active: float | None = Field(None, description="Variance above which a dimension is active.")


@final
class Found(BaseModel):
    """What there is by now."""

    preview: Preview | None = Field(description="Null until the first checkpoint, or where none was left.")


_EXAMPLE = {
    "epoch": 3, "rows": 1, "shape": [2, 2], "iterations": [0, 1], "elbo": [[-3.1], [-1.2]], "low": 0.0, "high": 1.0,
    "originals": "AP8A/w==", "reconstructions": ["gICAgA==", "EO8Q7w=="], "measured_rows": 64,
    "kl_by_dimension": [1.7], "posterior_variance": [0.8], "active": 0.01,
}  # fmt: skip


@router.get("/v1/jobs/{job}/preview", responses=answers(404, 409, example={"preview": _EXAMPLE}))
def preview(job: JobName, context: Ctx, caller: Viewer) -> Found:
    """Rows of the validation part (train) or of the part that was measured (evaluate), and their reconstructions."""
    found = context.queue.get(job, caller.projects)
    if found.kind == "evaluate":
        return Found(preview=_measured(context, found))
    if found.kind not in ("train", "sweep", "export"):
        raise NotFound(f"job {found.id} is of kind {found.kind}, which has no preview")
    content = _trained(context, found)
    return Found(preview=None if content is None else _read(content))


def _trained(context: Context, job: Job) -> bytes | None:
    if "model" not in job.outputs:
        return workplace.read(context, job, FILE) if job.kind == "train" else None
    bundle = context.artifacts.open(str(job.outputs["model"]), verify=False)
    return verified(bundle, FILE) if FILE in bundle.files else None


def _read(content: bytes) -> Preview:
    try:
        return Preview.model_validate(json.loads(content))
    except (ValueError, ValidationError) as error:
        raise Answer(409, "preview_damaged", "the preview cannot be read") from error


def _measured(context: Context, job: Job) -> Preview | None:
    """Of an evaluation's arrays."""
    if "report" not in job.outputs:
        return None
    bundle = context.artifacts.open(str(job.outputs["report"]), verify=False)
    return of_arrays(bundle) if ARRAYS in bundle.files else None


def of_arrays(bundle: Bundle) -> Preview:
    """The rows and reconstructions that an evaluation kept. Raises BundleError when they cannot be read."""
    import numpy as np

    try:
        with np.load(io.BytesIO(verified(bundle, ARRAYS)), allow_pickle=False) as arrays:
            originals: Any = arrays["originals"][:PICTURED]
            steps: Any = arrays["reconstructions"][:, : len(originals)]
            shape = [int(side) for side in arrays["shape"]]
    except (ValueError, KeyError, OSError) as error:
        raise BundleError(f"{bundle.path / ARRAYS} does not hold the arrays of an evaluation") from error
    low, high = float(originals.min()), float(originals.max())
    shown = _shown(len(steps) - 1)

    def levels(rows: Any) -> str:
        scaled = np.clip((rows - low) / (high - low if high > low else 1.0), 0.0, 1.0)
        return base64.b64encode(np.round(scaled * 255).astype(np.uint8).tobytes()).decode("ascii")

    return Preview(
        rows=len(originals),
        shape=shape,
        iterations=shown,
        low=low,
        high=high,
        originals=levels(originals),
        reconstructions=[levels(steps[t]) for t in shown],
    )


def _shown(last: int) -> list[int]:
    if last <= PICTURED:
        return list(range(last + 1))
    return sorted({round(last * (index / (PICTURED - 1)) ** 2) for index in range(PICTURED)})
