"""Whether this machine is ready: `doctor`."""

from __future__ import annotations

from dataclasses import asdict

import typer
from rich.markup import escape
from rich.table import Table

from closegap.cli import output
from closegap.cli.command import AsJson, add
from closegap.cli.exits import ExitCode

_MARKS = {"ok": "[green]ok[/]", "warn": "[yellow]warn[/]", "fail": "[red]fail[/]"}


def doctor(as_json: AsJson = False) -> ExitCode:
    """Check Python, packages, torch, folders, disk, store, workers and Ray. Exit code 1 when a check fails, else 0."""
    from closegap.cli.checks import CHECKS
    from closegap.settings import Settings

    settings = Settings.load()
    checks = [check(settings) for check in CHECKS]
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


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "doctor", doctor, "closegap doctor", "closegap doctor --json")
