"""The model registry: `models`."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import output, words
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_artifacts, open_registry
from closegap.cli.exits import ExitCode
from closegap.errors import ServiceError
from closegap_core.errors import BundleError

if TYPE_CHECKING:
    from closegap.artifacts import ArtifactStore
    from closegap.registry import Registry, Version


_READ = 1 << 20
"""Files of so many bytes are read against their digests for the list, too; weights only for one model."""


def models(
    model: Annotated[
        str | None, typer.Argument(help="One model: its name, name/3, or the beginning of its digest.")
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First register what the manifests name but the registry lacks.")
    ] = False,
    as_json: AsJson = False,
) -> ExitCode:
    """The registered models and their versions; with a MODEL, all about one. Needs no store."""
    registry = open_registry()
    code = _rebuild(registry) if rebuild else ExitCode.SUCCEEDED
    if model is not None:
        _show(model, as_json)
        return code
    artifacts = open_artifacts()
    facts = [_facts(artifacts, version) for version in registry.list()]
    if as_json:
        output.document({"models": facts})
    elif facts:
        output.data().print(_table(facts))
    else:
        output.line("no models")
    return code


def _rebuild(registry: Registry) -> ExitCode:
    """Say what was added, and what could not be: that is a failure, though all the rest was done."""
    added, damaged = registry.rebuild()
    output.say(f"{len(added)} versions added")
    for what in damaged:
        output.say(f"[bold red]damaged, left out:[/] {escape(what)}")
    return ExitCode.FAILED if damaged else ExitCode.SUCCEEDED


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "models", models,
        "closegap models",
        "closegap models mnist-iterative/2",
        "closegap models --json",
    )  # fmt: skip


def _facts(artifacts: ArtifactStore, version: Version) -> dict[str, Any]:
    """A version, and what its bundle says; `problem` when the bundle is not whole, or something in it was altered."""
    from closegap.api.sessions import verified

    known = version.model_dump(mode="json")
    try:
        bundle = artifacts.open(version.digest, verify=False)
        for name, facts in bundle.files.items():
            if facts.bytes <= _READ:
                verified(bundle, name)
        metrics = json.loads(verified(bundle, "metrics.json"))
        elbo = metrics.get("summary", {}).get("valid_elbo")
    except (ServiceError, BundleError, ValueError) as error:
        return known | {"problem": str(error)}
    return known | {
        "path": str(bundle.path),
        "valid_elbo": elbo,
        "encoder": "encoder.onnx" in bundle.files,
        "problem": "",
    }


def _table(facts: list[dict[str, Any]]) -> Table:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("NAME", "VERSION", "JOB", "ENCODER", "VALID ELBO", "AGE", "DIGEST", ""):
        right = name in ("VERSION", "VALID ELBO", "AGE")
        table.add_column(name, no_wrap=name != "", justify="right" if right else "left")
    now = datetime.now(UTC)
    for fact in facts:
        age = (now - datetime.fromisoformat(fact["created"])).total_seconds()
        table.add_row(
            fact["name"],
            str(fact["version"]),
            fact["job"],
            "onnx" if fact.get("encoder") else "–",
            words.nats(fact.get("valid_elbo")),
            words.duration(age),
            fact["digest"][:19],
            f"[red]{escape(fact['problem'])}[/]",
        )
    return table


def _show(model: str, as_json: bool) -> None:
    """The bundle of a model, verified."""
    bundle = open_registry().resolve(model)
    facts = {
        "digest": bundle.digest,
        "kind": bundle.kind,
        "path": str(bundle.path),
        "lineage": bundle.lineage,
        "files": {name: entry.model_dump() for name, entry in bundle.files.items()},
    }
    if as_json:
        output.document(facts)
        return
    output.line(f"{bundle.digest}  {bundle.kind}, whole")
    output.line(f"path  {bundle.path}")
    for name, value in bundle.lineage.items():
        output.line(f"{name}  {value if isinstance(value, str) else json.dumps(value)}")
    for name, entry in bundle.files.items():
        output.line(f"  {entry.bytes:>10}  {name}")
