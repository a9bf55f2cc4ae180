"""Specs: `submit`, `validate`, `schema`, `example`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from closegap.cli import comparison, filters, output
from closegap.cli.board import board
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.exits import ExitCode, of_states
from closegap.cli.source import InProject, Overrides, Scale, SkipData, Source, checked
from closegap.specs.references import Kind

if TYPE_CHECKING:
    from closegap.job import Job
    from closegap.specs.spec import Spec

KindName = Annotated[Kind, typer.Argument(help="The kind of job.")]


def submit(
    source: Source,
    overrides: Overrides = None,
    scale: Scale = None,
    key: Annotated[
        str | None, typer.Option(help="Idempotency key: the same key and spec give the same jobs again.")
    ] = None,
    priority: Annotated[
        int | None, typer.Option(min=0, max=100, help="Of every job; higher runs first.")
    ] = None,
    project: InProject = None,
    label: Annotated[
        list[str] | None,
        typer.Option("--label", metavar="KEY=VALUE", help="Label of every job. Repeatable."),
    ] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Follow the jobs until they are over.")] = False,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Only say what would happen, as `closegap plan` does.")
    ] = False,
    skip_data_check: SkipData = False,
    as_json: AsJson = False,
) -> ExitCode:
    """Put the jobs of a spec file into the queue; prints their ids."""
    from closegap.cli import specfile
    from closegap.cli.follow import follow

    service = open_service()
    found = checked(specfile.read(source, overrides, scale), None if skip_data_check else service.problems)
    specs = [_changed(spec, priority, label or []) for spec in found]
    if dry_run:
        from closegap.cli import plan

        return plan.tell(service.plan(specs, project), as_json)
    jobs = service.submit(specs, key, project)
    if not as_json:
        for job in jobs:
            output.line(job.id)
        _say_submitted(jobs)
    if wait:
        jobs = follow(service, jobs, board(quiet=as_json))
    if as_json:
        output.document({"jobs": [job.model_dump(mode="json") for job in jobs]})
    else:
        for job in jobs:
            if job.kind == "compare" and job.state == "succeeded":
                comparison.tell(service.comparison(job))
    return of_states([job.state for job in jobs]) if wait else ExitCode.SUCCEEDED


def validate(
    source: Source,
    overrides: Overrides = None,
    scale: Scale = None,
    skip_data_check: SkipData = False,
    as_json: AsJson = False,
) -> None:
    """Check a spec file: every problem with its place, the value found and what is accepted. Needs no store.

    In a context the service is asked too, unless --skip-data-check.
    """
    from closegap.cli import specfile

    problems = None if skip_data_check else open_service().problems
    specs = checked(specfile.read(source, overrides, scale), problems)
    if as_json:
        output.document({"valid": True, "specs": [_shown(spec) for spec in specs]})
        return
    for spec in specs:
        output.line(f"{spec.name or '(no name)'}: valid {spec.kind} spec")


def schema(kind: KindName, as_json: AsJson = False) -> None:
    """The JSON schema of a kind of spec (always JSON)."""
    from closegap.specs import spec

    output.document(spec.schema(kind))


def example(kind: KindName, as_json: AsJson = False) -> None:
    """A commented spec of a kind, ready to run (YAML; --json: without the comments)."""
    from closegap.specs import document, spec

    text = spec.example(kind)
    if as_json:
        documents = document.read(text)
        output.document(documents[0] if len(documents) == 1 else documents)
    else:
        output.line(text.rstrip("\n"))


def register(app: typer.Typer) -> None:
    """Add the commands."""
    add(
        app, "submit", submit,
        "closegap submit train.yaml",
        "closegap submit train.yaml --wait --set training.epochs=10",
        "closegap submit pipeline.yaml --set train:inference.iterations=3 --key night-7",
        "closegap submit examples/paper/fig7a.yaml --scale small --wait",
        "closegap submit train.yaml --project vision --label night=7 --priority 80",
        "closegap example train | closegap submit -",
    )  # fmt: skip
    add(
        app, "validate", validate,
        "closegap validate train.yaml",
        "closegap validate train.yaml --set data.source=rows.npy --json",
    )  # fmt: skip
    add(app, "schema", schema, "closegap schema train", "closegap schema sweep --json")
    add(app, "example", example, "closegap example train", "closegap example sweep")


def _changed(spec: Spec, priority: int | None, labels: list[str]) -> Spec:
    """The spec with what options say of every job; read again, so that it is checked."""
    from closegap.specs import spec as specs

    if priority is None and not labels:
        return spec
    value = specs.dump(spec)
    value["labels"] |= dict(filters.label(text) for text in labels)
    return specs.load(value | ({} if priority is None else {"priority": priority}))


def _shown(spec: Spec) -> dict[str, Any]:
    return spec.model_dump(mode="json", by_alias=True)


def _say_submitted(jobs: list[Job]) -> None:
    for job in jobs:
        output.say(f"[bold]{job.name or job.id}[/]  {job.kind}  {job.state}  [dim]{job.reason}[/]")
    last, ids = jobs[-1].id, " ".join(job.id for job in jobs)
    output.next_commands(
        [
            (f"closegap wait {ids}", "follow until all are over"),
            (f"closegap logs -f {last}", "what it reports, as it happens"),
            ("closegap ps", "the queue"),
            (f"closegap show {last}", "spec, history, outputs"),
            (f"closegap cancel {jobs[0].id}", "stop it, and what needs it"),
        ]
    )
