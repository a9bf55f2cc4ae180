"""The shape of the command line: every command is there, explains itself by examples that parse, and loads fast."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

import pytest
import typer.main

from closegap.cli.app import build

from .conftest import Command

COMMANDS = [
    "cancel", "demo", "doctor", "encode", "example", "logs", "models", "pause", "projects", "ps", "resume", "retry",
    "run", "schema", "set", "show", "submit", "up", "validate", "wait", "worker", "workers",
]  # fmt: skip


def test_all_commands_are_there() -> None:
    assert sorted(typer.main.get_command(build()).commands) == COMMANDS  # type: ignore[attr-defined]


@pytest.mark.parametrize("name", COMMANDS)
def test_examples_in_the_help_parse(name: str) -> None:
    group = typer.main.get_command(build())
    command = group.commands[name]  # type: ignore[attr-defined]
    examples = [line for line in (command.epilog or "").splitlines() if line and line != "Examples:"]
    assert examples
    for example in examples:
        for part in example.split("|"):
            words = shlex.split(part)
            while re.fullmatch(r"[A-Z_]+=\S+", words[0]):
                words.pop(0)
            assert words[0] == "closegap"
            context = group.make_context("closegap", words[1:])
            found, found_command, rest = group.resolve_command(
                context, context._protected_args + context.args
            )
            assert found == words[1]
            found_command.make_context(found, rest)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_and_json_on_every_command_that_answers(closegap: Command, name: str) -> None:
    said = closegap(name, "--help")
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
