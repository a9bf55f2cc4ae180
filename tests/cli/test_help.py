"""The shape of the command line: every command is there, explains itself by examples that parse, and loads fast."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from typing import Any

import pytest
import typer.main
from typer.core import TyperGroup

from closegap.cli.app import build

from .conftest import Command

COMMANDS = [
    "api", "audit", "cancel", "demo", "doctor", "encode", "example", "gc", "login", "logout", "logs", "models", "page",
    "pause", "plan", "projects", "ps", "resume", "retry", "run", "schema", "set", "show", "submit", "up", "validate",
    "wait", "whoami", "worker", "workers",
]  # fmt: skip
GROUPS = {"context": ["list", "remove", "show", "use"], "token": ["create", "list", "revoke"]}
ALL = [*COMMANDS, *(f"{group} {name}" for group, names in GROUPS.items() for name in names)]


def test_all_commands_are_there() -> None:
    commands = typer.main.get_command(build()).commands  # type: ignore[attr-defined]
    assert sorted(commands) == sorted([*COMMANDS, *GROUPS])
    for group, names in GROUPS.items():
        assert sorted(commands[group].commands) == names


@pytest.mark.parametrize("name", ALL)
def test_examples_in_the_help_parse(name: str) -> None:
    group = typer.main.get_command(build())
    command: Any = group
    for word in name.split():
        command = command.commands[word]
    examples = [line for line in (command.epilog or "").splitlines() if line and line != "Examples:"]
    assert examples
    for example in examples:
        for part in example.split("|"):
            words = shlex.split(part)
            while re.fullmatch(r"[A-Z_]+=\S+", words[0]):
                words.pop(0)
            assert words[0] == "closegap"
            found, rest = group, words
            while isinstance(found, TyperGroup):
                context = found.make_context(rest[0], list(rest[1:]))
                _, found, rest = found.resolve_command(context, context._protected_args + context.args)
                rest = [str(found.name), *rest]
            found.make_context(rest[0], list(rest[1:]))


@pytest.mark.parametrize("name", ALL)
def test_help_and_json_on_every_command_that_answers(closegap: Command, name: str) -> None:
    said = closegap(*name.split(), "--help")
    assert said.code == 0
    assert "Examples:" in said.out
    assert ("--json" in said.out) == (name != "worker")


def test_the_command_line_loads_without_what_is_heavy() -> None:
    code = (
        "import sys; from closegap.cli.app import build; build();"
        "print([name for name in ('torch', 'ray', 'pyarrow', 'redis', 'onnxruntime', 'plotly', 'numpy')"
        " if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_wrong_usage_is_2(closegap: Command) -> None:
    assert closegap("ps", "--no-such-option").code == 2
    assert closegap("no-such-command").code == 2
    assert closegap("show").code == 2
    assert closegap("--version").out.count(".") == 2
