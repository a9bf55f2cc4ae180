"""Rules of the house that a tree can show: size, names, what is not used at all, and where exceptions lie."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.architecture.source import ROOT, Module, each_module, modules

MOST_LINES_OF_A_FILE = 400
MOST_LINES_OF_A_FUNCTION = 50
"""Limits; about 250 and 25 are what we aim for."""

READS_ENVIRONMENT = {
    "service/closegap/settings.py",  # reads the settings, and copies the environment for a child process
}

PRINTS = ("service/closegap/cli/",)

BANNED = ("pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal")


@each_module
def test_a_file_is_one_sitting(module: Module) -> None:
    lines = module.path.read_text(encoding="utf-8").count("\n")
    assert lines <= MOST_LINES_OF_A_FILE, f"{module.where} has {lines} lines; divide it by noun"


@each_module
def test_a_function_is_one_thought(module: Module) -> None:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= MOST_LINES_OF_A_FUNCTION, (
                f"{module.where}:{node.lineno} {node.name} has {lines} lines"
            )


@each_module
def test_names_say_what_a_thing_is(module: Module) -> None:
    assert not re.search(r"util|helper|manager|misc|common", module.path.stem), module.where
    for node in ast.walk(module.tree):
        if isinstance(node, ast.ClassDef):
            assert not re.search(r"Util|Helper|Manager", node.name), f"{module.where}: class {node.name}"


@each_module
def test_every_module_says_what_it_is(module: Module) -> None:
    empty = not module.tree.body
    assert empty or ast.get_docstring(module.tree), f"{module.where} has no docstring"


@each_module
def test_nothing_that_runs_code_from_a_file(module: Module) -> None:
    taken = sorted({name for name in module.imports() if name.split(".")[0] in BANNED})
    assert not taken, f"{module.where} imports {taken}"
    for name in ("torch.load", "torch.save"):
        assert not module.uses(name), (
            f"{module.where}:{module.uses(name)} uses {name}; weights are safetensors"
        )
    for name in ("eval", "exec"):
        assert not module.calls(name), f"{module.where}:{module.calls(name)} calls {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
            accepted = isinstance(node.value, ast.Constant) and node.value.value is False
            assert accepted, f"{module.where}:{node.value.lineno} may unpickle"


@each_module
def test_the_environment_is_read_in_one_place(module: Module) -> None:
    lines = [line for name in ("os.environ", "os.getenv", "os.putenv") for line in module.uses(name)]
    assert not lines or module.where in READS_ENVIRONMENT, f"{module.where}:{lines} touches the environment"


@each_module
def test_only_the_command_line_prints(module: Module) -> None:
    lines = module.calls("print")
    assert not lines or module.where.startswith(PRINTS), f"{module.where}:{lines} prints"


def test_exceptions_are_still_needed() -> None:
    by_path = {module.where: module for module in modules()}
    for where in READS_ENVIRONMENT:
        assert by_path[where].uses("os.environ"), f"{where} no longer touches the environment"


@pytest.mark.parametrize("path", sorted((ROOT / "service").rglob("*.lua")), ids=lambda path: path.name)
def test_a_script_lists_its_keys(path: Path) -> None:
    """The header (leading comment) names every KEYS[n] and ARGV[n] that the body reads."""
    lines = path.read_text(encoding="utf-8").splitlines()
    first_code = next((n for n, line in enumerate(lines) if line and not line.startswith("--")), len(lines))
    header, body = "\n".join(lines[:first_code]), "\n".join(lines[first_code:])
    assert "KEYS[1]" in header, f"{path} does not say what its keys are"
    for used in set(re.findall(r"(?:KEYS|ARGV)\[\d+\]", body)):
        assert used in header, f"{path} reads {used}, which its header does not name"
