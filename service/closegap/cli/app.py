"""All commands on one Typer application."""

from __future__ import annotations

from importlib.metadata import version
from typing import Annotated

import typer

from closegap.cli import (
    api,
    audit,
    completion,
    connection,
    context,
    control,
    demo,
    doctor,
    encode,
    gc,
    jobs,
    local,
    login,
    logs,
    models,
    output,
    page,
    plan,
    projects,
    submit,
    token,
    up,
    workers,
)
from closegap.cli.command import Commands

_HELP = """Queue, train, measure, export and use models with iterative amortized inference.

Data goes to standard output, talk to standard error; --json gives every command's answer as JSON.

Commands ask this machine's store, or the service of a context: `closegap login URL`, --context, CLOSEGAP_URL.

Exit codes: 0 succeeded, 2 wrong usage or invalid spec, 3 not allowed, 4 store or service unreachable, 100 failed,
101 not finished (also Ctrl-C while following: the jobs go on), 102 not found, 103 cancelled,
1 a fault of closegap (or a failed check of doctor)."""


def build() -> typer.Typer:
    """A fresh application."""
    app = typer.Typer(
        cls=Commands,
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        context_settings={"help_option_names": ["-h", "--help"]},
        epilog="Examples:\n\nclosegap demo\n\nclosegap up\n\nclosegap example train | closegap submit - --wait",
    )
    app.callback()(_root)
    for commands in (
        submit,
        plan,
        jobs,
        control,
        logs,
        login,
        context,
        up,
        api,
        page,
        token,
        workers,
        projects,
        audit,
        local,
        models,
        encode,
        gc,
        demo,
        doctor,
    ):
        commands.register(app)
    return app


def _say_version(wanted: bool) -> None:
    if wanted:
        output.line(version("closegap"))
        raise typer.Exit


def _root(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_say_version, is_eager=True, help="Say the version and leave."),
    ] = False,
    context: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="The service to ask, of those that you have logged in to; local: this machine's store.",
            autocompletion=completion.contexts,
        ),
    ] = None,
) -> None:
    connection.ask(context)
