"""The model registry: `models`."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import completion, output, words
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.exits import ExitCode

if TYPE_CHECKING:
    from closegap.cli.service import Service


def models(
    model: Annotated[
        str | None,
        typer.Argument(
            help="One model: its name, name/3, or the beginning of its digest.",
            autocompletion=completion.models,
        ),
    ] = None,
    rebuild: Annotated[
        bool, typer.Option("--rebuild", help="First register what the manifests name but the registry lacks.")
    ] = False,
    as_json: AsJson = False,
) -> ExitCode:
    """The registered models and their versions; with a MODEL, all about one. Needs no store."""
    service = open_service()
    code = _rebuild(service) if rebuild else ExitCode.SUCCEEDED
    if model is not None:
        _show(service.model(model), as_json)
        return code
    facts = service.models()
    if as_json:
        output.document({"models": facts})
    elif facts:
        output.data().print(_table(facts))
    else:
        output.line("no models")
    return code


def _rebuild(service: Service) -> ExitCode:
    """Say what was added, and what could not be: that is a failure, though all the rest was done."""
    added, damaged = service.rebuild()
    output.say(f"{added} versions added")
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


def _show(facts: Mapping[str, Any], as_json: bool) -> None:
    """The bundle of a model."""
    if as_json:
        output.document(facts)
        return
    output.line(f"{facts['digest']}  {facts['kind']}, whole")
    output.line(f"path  {facts['path']}")
    for name, value in facts["lineage"].items():
        output.line(f"{name}  {value if isinstance(value, str) else json.dumps(value)}")
    for name, entry in facts["files"].items():
        output.line(f"  {entry['bytes']:>10}  {name}")
