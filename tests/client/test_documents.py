"""What the client reads is what the API gives."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import BaseModel

from closegap.api import (
    about,
    documents,
    encode,
    events,
    files,
    forecast,
    health,
    jobs,
    login,
    models,
    projects,
    series,
    submissions,
    tokens,
    trials,
    workers,
)
from closegap.client import documents as read
from closegap.storage.registry import Alias, Version

PAIRS: list[tuple[type[BaseModel], type[BaseModel]]] = [
    (read.Waiting, documents.Waiting),
    (read.JobPage, documents.Jobs),
    (read.CancelledJobs, jobs.Cancelled),
    (read.EventPage, events.Events),
    (read.Planned, forecast.Planned),
    (read.Plan, forecast.Plan),
    (read.Normalised, submissions.Valid),
    (read.Series, series.Series),
    (read.SeriesList, series.SeriesList),
    (read.Trials, trials.Trials),
    (read.File, files.File),
    (read.Bundle, files.Artifact),
    (read.Bundles, files.Artifacts),
    (read.Version, Version),
    (read.Alias, Alias),
    (read.ModelSummary, models.ModelSummary),
    (read.ModelSummaries, models.Models),
    (read.ModelVersions, models.Model),
    (read.ModelVersion, models.ModelVersion),
    (read.EncoderFacts, encode.EncoderFacts),
    (read.Posteriors, encode.Posteriors),
    (read.Whoami, about.Whoami),
    (read.Info, about.Info),
    (read.Code, login.Code),
    (read.Alive, health.Alive),
    (read.Changes, about.AuditPage),
    (read.Tokens, tokens.TokenList),
    (read.NewToken, tokens.Shown),
    (read.Workers, workers.Workers),
    (read.Projects, projects.Projects),
]


def test_every_document_has_its_pair() -> None:
    ours = {
        kind
        for kind in vars(read).values()
        if isinstance(kind, type) and issubclass(kind, read.Document) and kind is not read.Document
    }
    assert ours == {ours for ours, _ in PAIRS}


@pytest.mark.parametrize(("ours", "theirs"), PAIRS, ids=lambda kind: kind.__name__)
def test_the_service_gives_what_the_client_reads(ours: type[BaseModel], theirs: type[BaseModel]) -> None:
    given, wanted = _fields(theirs, "serialization"), _fields(ours, "validation")
    for name, kind in wanted.items():
        assert name in given, f"{theirs.__name__} has no `{name}`"
        assert kind == given[name], f"{theirs.__name__}.{name}"


def _fields(kind: type[BaseModel], mode: Any) -> dict[str, Any]:
    """What JSON type each field has; named parts by their kind only, for they are pairs of their own."""
    whole = kind.model_json_schema(mode=mode)
    return {name: _type(schema, whole.get("$defs", {})) for name, schema in whole["properties"].items()}


def _type(schema: Any, named: dict[str, Any]) -> Any:
    if isinstance(schema, list):
        return [_type(item, named) for item in schema]
    if not isinstance(schema, dict):
        return schema
    if "$ref" in schema:
        found = named[schema["$ref"].rpartition("/")[2]]
        return {"type": found["type"]} if "enum" in found else "named"
    kept = ("type", "items", "anyOf", "additionalProperties", "prefixItems", "format")
    return {name: _type(schema[name], named) for name in kept if name in schema}
