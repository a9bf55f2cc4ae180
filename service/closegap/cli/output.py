"""Where words go: data to standard output, talk to standard error."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console

_PIPE_WIDTH = 200


def data() -> Console:
    """Standard output for people; wide when it is not a terminal, so that a pipe gets whole lines."""
    return Console(width=None if sys.stdout.isatty() else _PIPE_WIDTH, highlight=False)


def talk() -> Console:
    """Standard error for people."""
    return Console(stderr=True, width=None if sys.stderr.isatty() else _PIPE_WIDTH, highlight=False)


def document(value: Mapping[str, Any] | Sequence[Any]) -> None:
    """One JSON document on standard output."""
    sys.stdout.write(json.dumps(value, indent=2, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def json_line(value: Mapping[str, Any]) -> None:
    """One line of a JSON-lines stream on standard output, flushed."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def line(text: str) -> None:
    """A line of plain data on standard output."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def say(text: str) -> None:
    """A line of talk, in Rich markup."""
    talk().print(text, soft_wrap=True)


def next_commands(commands: Sequence[tuple[str, str]]) -> None:
    """What to type next: pairs of a command and what it does."""
    console = talk()
    console.print("[bold]Next:[/]")
    width = max(len(command) for command, _ in commands)
    for command, purpose in commands:
        console.print(f"  {command:<{width}}  [dim]# {purpose}[/]", soft_wrap=True)
