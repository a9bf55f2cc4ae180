"""Whether this machine is ready: `doctor`."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import output
from closegap.cli.command import AsJson, add
from closegap.cli.exits import ExitCode

if TYPE_CHECKING:
    from closegap.cli.checks import Check

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


def doctor(as_json: AsJson = False) -> ExitCode:
    """Check Python, packages, torch, folders, disk, store, workers and Ray; in a context, what the service needs.

    That is its address, version, clock, token, store and workers. Exit code 1 when a check fails, else 0.
    """
    checks = _checked()
    failed = any(check.status == "fail" for check in checks)
    if as_json:
        output.document({"healthy": not failed, "checks": [asdict(check) for check in checks]})
    else:
        table = Table(box=None, pad_edge=False, show_header=False)
        table.add_column()
        table.add_column(style="bold", no_wrap=True)
        table.add_column(overflow="fold")
        for check in checks:
            remedy = f"\n[yellow]→ {escape(check.remedy)}[/]" if check.remedy else ""
            table.add_row(_MARKS[check.status], check.name, f"{escape(check.detail)}{remedy}")
        output.data().print(table)
    return ExitCode.ERROR if failed else ExitCode.SUCCEEDED


def _checked() -> list[Check]:
    from closegap.cli import checks
    from closegap.cli.connection import chosen
    from closegap.settings import Settings

    settings, found = Settings.load(), chosen()
    if found is None:
        return [check(settings) for check in checks.CHECKS]
    from closegap.cli import service_checks

    return [*(check(settings) for check in checks.OF_A_CLIENT), *service_checks.checks(found)]


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "doctor", doctor, "closegap doctor", "closegap doctor --json")
