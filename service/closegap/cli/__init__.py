"""The command line: `closegap`."""

from __future__ import annotations


def main() -> None:
    """Entry point of the console script."""
    from closegap.cli.app import build

    build()(prog_name="closegap")
