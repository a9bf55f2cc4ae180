"""Registered models: names, versions with their files, and aliases."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Annotated, Any, final

from fastapi import APIRouter, Path, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from closegap.api.context import Context, Ctx
from closegap.api.documents import InProject, ModelName, answers
from closegap.api.files import EXAMPLE_FILE, Artifact, FileName, artifact, sent
from closegap.api.identity import Caller, Submitter, Viewer
from closegap.api.sessions import FILE, verified
from closegap.api.span import BYTES, Part
from closegap.specs.references import NAME
from closegap.storage.registry import Alias, Registry, Version
from closegap_core.bundle import Bundle
from closegap_core.errors import BundleError

Number = Annotated[int, Path(alias="version", ge=1, lt=1 << 53, examples=[3])]
AliasName = Annotated[str, Path(alias="alias", pattern=f"^{NAME}$", examples=["best"])]
router = APIRouter(tags=["models"])


@final
class ModelSummary(BaseModel):
    """A registered name."""

    project: str
    name: str
    versions: int
    newest: Version
    aliases: list[Alias]


@final
class Models(BaseModel):
    """Every registered name that the token may see."""

    models: list[ModelSummary]


@final
class Model(BaseModel):
    """A name with all its versions, oldest first."""

    project: str
    name: str
    versions: list[Version]
    aliases: list[Alias]


@final
class ModelVersion(BaseModel):
    """One version: what it is made of and where it comes from."""

    project: str
    name: str
    version: int
    created: datetime
    job: str
    bundle: Artifact
    lineage: dict[str, Any]
    metrics: dict[str, Any] | None = Field(
        None, description="`metrics.json` of the bundle, where it has one."
    )
    encodes: bool = Field(description="Whether `/v1/encode` takes it.")
    aliases: list[str]


@final
class SetAlias(BaseModel):
    """What an alias shall stand for."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"version": 3}]})
    version: Annotated[int, Field(ge=1, lt=1 << 53, strict=True)]


_VERSION = {
    "name": "mnist",
    "version": 3,
    "digest": "sha256:" + "9f2c" * 16,
    "job": "train-7f3a91c2",
    "attempt": 1,
    "created": "2026-11-21T14:03:05Z",
}
_ALIAS = {
    "alias": "best",
    "version": 3,
    "actor": "alice (token 5c1e0a7b93d2)",
    "updated": "2026-11-21T14:05:00Z",
}
_MODEL = {"project": "default", "name": "mnist", "versions": [_VERSION], "aliases": [_ALIAS]}
_SUMMARY = _MODEL | {"versions": 3, "newest": _VERSION}
_FACTS = {
    "project": "default",
    "name": "mnist",
    "version": 3,
    "created": "2026-11-21T14:03:05Z",
    "job": "train-7f3a91c2",
    "bundle": {
        "output": "model",
        "digest": "sha256:" + "9f2c" * 16,
        "kind": "model",
        "files": [EXAMPLE_FILE],
    },
    "lineage": {"register": "mnist"},
    "metrics": None,
    "encodes": True,
    "aliases": ["best"],
}


@router.get("/v1/models", responses=answers(example={"models": [_SUMMARY]}))
def models(context: Ctx, caller: Viewer) -> Models:
    """The registered names of every project that the token may see."""
    seen = [item for item in Registry.all(context.artifacts) if caller.sees(item.project)]
    return Models(
        models=[
            ModelSummary(
                project=registry.project,
                name=name,
                versions=len(versions),
                newest=versions[-1],
                aliases=registry.aliases(name),
            )
            for registry in seen
            for name in registry.names()
            if (versions := registry.versions(name))
        ]
    )


@router.get("/v1/models/{name}", responses=answers(404, example=_MODEL))
def model(name: ModelName, context: Ctx, caller: Viewer, project: InProject = None) -> Model:
    """A name with its versions and aliases."""
    registry = _registry(context, caller, project)
    registry.version(name)
    return Model(
        project=registry.project, name=name, versions=registry.versions(name), aliases=registry.aliases(name)
    )


@router.get("/v1/models/{name}/versions/{version}", responses=answers(404, 409, example=_FACTS))
def version(
    name: ModelName, number: Number, context: Ctx, caller: Viewer, project: InProject = None
) -> ModelVersion:
    """One version with its files, lineage and metrics."""
    registry = _registry(context, caller, project)
    found = registry.version(f"{name}/{number}")
    bundle = context.artifacts.open(found.digest, verify=False)
    return ModelVersion(
        project=registry.project,
        name=name,
        version=found.version,
        created=found.created,
        job=found.job,
        bundle=artifact(bundle, "model", f"/v1/models/{name}/versions/{number}/files"),
        lineage=bundle.lineage,
        metrics=_metrics(bundle),
        encodes=FILE in bundle.files,
        aliases=[item.alias for item in registry.aliases(name) if item.version == found.version],
    )


@router.get(
    "/v1/models/{name}/versions/{version}/files/{file:path}",
    response_class=StreamingResponse,
    response_model=None,
    responses=answers(404, 409, 416) | BYTES,
)
def download(
    name: ModelName,
    number: Number,
    file: FileName,
    context: Ctx,
    caller: Viewer,
    part: Part,
    project: InProject = None,
) -> StreamingResponse:
    """One file of a version, or a range of it."""
    found = _registry(context, caller, project).version(f"{name}/{number}")
    return sent(context.artifacts.open(found.digest, verify=False), file, part)


@router.get("/v1/models/{name}/aliases/{alias}", responses=answers(404, example=_ALIAS))
def alias(name: ModelName, word: AliasName, context: Ctx, caller: Viewer, project: InProject = None) -> Alias:
    """What an alias stands for."""
    registry = _registry(context, caller, project)
    registry.version(name)
    return registry.alias(name, word)


@router.put("/v1/models/{name}/aliases/{alias}", responses=answers(404, 413, example=_ALIAS))
def set_alias(
    name: ModelName,
    word: AliasName,
    asked: SetAlias,
    context: Ctx,
    caller: Submitter,
    project: InProject = None,
) -> Alias:
    """Let an alias stand for a version, whatever it stood for: `name@alias` in specs and in `/v1/encode`."""
    registry = _registry(context, caller, project)
    found = registry.set_alias(name, word, asked.version, caller.actor)
    _note(context, caller, "model.alias", registry, f"{name}@{word} = {asked.version}")
    return found


@router.delete("/v1/models/{name}/aliases/{alias}", status_code=204, responses=answers(404, status=204))
def remove_alias(
    name: ModelName, word: AliasName, context: Ctx, caller: Submitter, project: InProject = None
) -> Response:
    """Forget an alias; the version stays."""
    registry = _registry(context, caller, project)
    registry.version(name)
    registry.remove_alias(name, word)
    _note(context, caller, "model.unalias", registry, f"{name}@{word}")
    return Response(status_code=204)


def resolved(context: Context, caller: Caller, reference: str, project: str | None) -> tuple[Version, Bundle]:
    """The version and the bundle of `name`, `name@alias` or `name` with a number. Raises NotFound, BundleError."""
    found = _registry(context, caller, project).version(reference)
    return found, context.artifacts.open(found.digest, verify=False)


def _registry(context: Context, caller: Caller, project: str | None) -> Registry:
    return context.registry(caller.chosen(project))


def _note(context: Context, caller: Caller, action: str, registry: Registry, target: str) -> None:
    context.audit.record(caller.actor, action, registry.project, target, caller.token, caller.request_id)


def _metrics(bundle: Bundle) -> dict[str, Any] | None:
    if "metrics.json" not in bundle.files:
        return None
    try:
        found: dict[str, Any] = json.loads(verified(bundle, "metrics.json"))
    except ValueError as error:
        raise BundleError(f"{bundle.path / 'metrics.json'} is not JSON") from error
    return found
