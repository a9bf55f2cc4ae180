"""Rows in, approximate posteriors with their evidence out: a registered model's exported encoder, online."""

from __future__ import annotations

from typing import Annotated, final

from fastapi import APIRouter, Path, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.concurrency import run_in_threadpool

from closegap.api import body
from closegap.api.context import Context, Ctx
from closegap.api.documents import InProject, answers
from closegap.api.identity import Viewer
from closegap.api.limits import ROWS_BYTES, too_large
from closegap.api.models import resolved
from closegap.api.problem import Answer
from closegap.specs import references
from closegap.storage.registry import Version
from closegap_core.bundle import Bundle

LARGEST_ITERATIONS = 1000
_WORK = 1 << 28
"""Rows × values × iterations of one request; larger sets are for an encode job."""
Reference = Annotated[
    str,
    Path(
        alias="model",
        pattern=f"^{references.NAME}(@{references.NAME}|:[1-9][0-9]{{0,14}})?$",
        description="`name` (newest version), `name@alias`, or `name:3`.",
        examples=["mnist@best"],
    ),
]
router = APIRouter(tags=["encode"])


@final
class EncoderFacts(BaseModel):
    """What an encoder reads and gives, and how much is taken at once."""

    model: str
    version: int
    digest: str
    width: int = Field(description="X: values of a row.")
    shape: list[int] = Field(description="Of one row of the training data, before it was flattened.")
    latent: int = Field(description="Z.")
    likelihood: str
    unit_interval: bool = Field(description="Whether values must lie in [0, 1].")
    binarise: bool = Field(description="Whether the model was trained on x ~ Bernoulli(row).")
    iterations: int | None = Field(description="Of inference, by default; null: one pass.")
    most_rows: int = Field(description="Of one request.")
    most_values: int = Field(description="Rows × values × iterations of one request.")
    most_bytes: int = Field(description="Of one request's body.")


@final
class Rows(BaseModel):
    """What to encode."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [{"rows": [[0.0, 0.5, 1.0, 0.0]], "iterations": 5}]}
    )
    rows: list[list[float]] = Field(min_length=1, description="(N, X), each as long as the model's data.")
    iterations: Annotated[int, Field(ge=0, le=LARGEST_ITERATIONS)] | None = Field(
        None, description="Of inference; absent: the model's own number."
    )


@final
class Posteriors(BaseModel):
    """q(z|x) of each row, diagonal Gaussian, and the evidence for it."""

    model: str
    version: int
    digest: str
    mean: list[list[float]] = Field(description="(N, Z).")
    log_var: list[list[float]] = Field(description="(N, Z).")
    elbo: list[float] = Field(description="(N,) in nats.")
    iterations: int


_EXAMPLE = {
    "model": "mnist",
    "version": 3,
    "digest": "sha256:" + "9f2c" * 16,
    "mean": [[0.31, -1.2]],
    "log_var": [[-2.1, -1.7]],
    "elbo": [-98.4],
    "iterations": 5,
}


_FACTS = {
    "model": "mnist",
    "version": 3,
    "digest": "sha256:" + "9f2c" * 16,
    "width": 784,
    "shape": [28, 28],
    "latent": 64,
    "likelihood": "bernoulli",
    "unit_interval": True,
    "binarise": True,
    "iterations": 5,
    "most_rows": 4096,
    "most_values": _WORK,
    "most_bytes": ROWS_BYTES,
}


@router.get("/v1/encode/{model}", responses=answers(404, 409, example=_FACTS))
def facts(reference: Reference, context: Ctx, caller: Viewer, project: InProject = None) -> EncoderFacts:
    """What a model's encoder takes, to be looked at before rows are sent."""
    version, bundle = resolved(context, caller, reference.replace(":", "/"), project)
    info = context.encoders.get(bundle).info
    return EncoderFacts(
        model=version.name,
        version=version.version,
        digest=version.digest,
        width=info.width,
        shape=list(info.shape),
        latent=info.latent,
        likelihood=info.likelihood,
        unit_interval=info.unit_interval,
        binarise=info.binarise,
        iterations=info.iterations,
        most_rows=context.settings.api_encode_rows,
        most_values=_WORK,
        most_bytes=ROWS_BYTES,
    )


@router.post(
    "/v1/encode/{model}",
    responses=answers(400, 404, 409, 413, 415, example=_EXAMPLE),
    openapi_extra={
        "requestBody": {
            "required": True,
            "content": {
                "application/json": {
                    "schema": {"$ref": "#/components/schemas/Rows"},
                    "example": {"rows": [[0.0, 0.5, 1.0, 0.0]], "iterations": 5},
                }
            },
        }
    },
)
async def encode(
    reference: Reference, request: Request, context: Ctx, caller: Viewer, project: InProject = None
) -> Posteriors:
    """Encode a few rows now. Many rows are for a job of kind `encode`: it streams, resumes, and checks its work."""
    content, media_type = await body.read(request)
    if media_type not in body.JSON_TYPES:
        raise Answer(
            415, "unsupported_media_type", f"the type `{media_type[:100]}` is not accepted: application/json"
        )

    def work() -> Posteriors:
        version, bundle = resolved(context, caller, reference.replace(":", "/"), project)
        with context.limits.encodings.place(caller.key):
            return _encoded(context, content, version, bundle)

    return await run_in_threadpool(work)


def _encoded(context: Context, content: bytes, version: Version, bundle: Bundle) -> Posteriors:
    """In a place of its own: reading many numbers is work, too."""
    import numpy as np

    asked = _read(content)
    most = context.settings.api_encode_rows
    if len(asked.rows) > most:
        raise too_large(
            f"{len(asked.rows)} rows; accepted: at most {most} at once, more by a job of kind encode"
        )
    encoder = context.encoders.get(bundle)
    wrong = next((n for n, row in enumerate(asked.rows) if len(row) != encoder.info.width), None)
    if wrong is not None:
        raise Answer(
            422,
            "invalid_rows",
            f"row {wrong} has {len(asked.rows[wrong])} values; this model reads {encoder.info.width}",
        )
    count = encoder.count(asked.iterations)
    if len(asked.rows) * encoder.info.width * max(1, count) > _WORK:
        raise too_large(
            f"{len(asked.rows)} rows of {encoder.info.width} values over {count} iterations are too much"
        )
    with np.errstate(
        over="ignore"
    ):  # too large for float32 is infinite, which the encoder refuses with its place
        x = np.asarray(asked.rows, np.float32)
    found = encoder(x, asked.iterations)
    finite = np.isfinite(found.elbo) & np.isfinite(found.mean).all(1) & np.isfinite(found.log_var).all(1)
    if not finite.all():
        row = int(np.argmin(finite))
        raise Answer(
            422,
            "not_finite",
            f"the posterior of row {row} is not finite: such a row is nothing like the data",
        )
    context.measures.encoded.inc(len(x))
    return Posteriors(
        model=version.name,
        version=version.version,
        digest=version.digest,
        mean=found.mean.tolist(),
        log_var=found.log_var.tolist(),
        elbo=found.elbo.tolist(),
        iterations=count,
    )


def _read(content: bytes) -> Rows:
    """Raises RequestValidationError, Answer 400."""
    try:
        return Rows.model_validate_json(content)
    except ValidationError as error:
        found = error.errors(include_url=False)
        if found[0]["type"] == "json_invalid":
            raise Answer(
                400, "malformed_json", f"the body is not JSON: {found[0]['ctx']['error']}"
            ) from error
        raise RequestValidationError(
            [{**item, "loc": ("body", *item["loc"])} for item in found[:100]]
        ) from error
