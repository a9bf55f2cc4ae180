"""The model registry: `models`."""

from __future__ import annotations

import typer

from closegap.cli.command import AsJson, add


def models(as_json: AsJson = False) -> None:
    """x"""


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "models", models, "closegap models", "closegap models --json")
