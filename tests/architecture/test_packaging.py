"""Versions agree wherever they are written, and the documents name only verbs that exist."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from closegap.settings import ClientSettings, Settings
from tests.architecture.source import ROOT

DOCUMENTS = [*ROOT.glob("*.md"), *ROOT.glob("docs/*.md"), *ROOT.glob("deploy/*.md")]


def _pins(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    return dict(
        re.findall(r"^([a-z0-9._-]+)==([^ ;]+)", line)[0] for line in lines if "==" in line and line[0] != "#"
    )


def _requirements() -> list[str]:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    extras = project["optional-dependencies"].values()
    return [*project["dependencies"], *(requirement for extra in extras for requirement in extra)]


def test_ray_is_one_version_everywhere() -> None:
    """Driver, ranks and cluster must run the same Ray: a minor apart they refuse each other."""
    pinned = _pins("constraints.txt")["ray"]
    assert [item for item in _requirements() if item.startswith("ray")] == [f"ray[train,tune]=={pinned}"]
    for path in (ROOT / "deploy").rglob("*"):
        if path.is_file():
            named = re.findall(
                r"\bray(?:\[[a-z,]+\])?(?:==|:)(\d+\.\d+\.\d+)", path.read_text(encoding="utf-8")
            )
            assert set(named) <= {pinned}, f"{path.name} names Ray {named}, constraints.txt {pinned}"


def test_cpu_torch_is_the_same_torch() -> None:
    assert _pins("constraints-cpu.txt")["torch"] == _pins("constraints.txt")["torch"] + "+cpu"


def test_constraints_hold_every_direct_requirement_and_nothing_of_cuda() -> None:
    pins = _pins("constraints.txt")
    wanted = {re.split(r"[\[<>=]", item)[0] for item in _requirements()} - {
        "closegap"
    }  # dev has its own extras
    assert wanted <= set(pins), f"run `make constraints`: {sorted(wanted - set(pins))} have no pin"
    assert not [name for name in pins if name.startswith(("nvidia", "triton", "cuda"))]


@pytest.mark.parametrize("path", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_documents_name_existing_make_targets(path: Path) -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    named = set(re.findall(r"(?:^|`)make ([a-z]+)", path.read_text(), re.MULTILINE))
    assert named <= targets, f"{path} names make {sorted(named - targets)}"


def test_the_readme_tells_every_setting() -> None:
    """A name that begins with `_` leaves out what it has in common with the first one of its line."""
    fields = {f"CLOSEGAP_{name.upper()}" for kind in (Settings, ClientSettings) for name in kind.model_fields}
    elsewhere = {"CLOSEGAP_RAY_ADDRESS", "CLOSEGAP_CONFIG_HOME"}  # RAY_ADDRESS; the folder of contexts
    told: set[str] = set()
    for line in re.findall(r"^\| (`CLOSEGAP_[^|]+) \|", (ROOT / "README.md").read_text(), re.MULTILINE):
        first, *others = re.findall(r"`(\w+)`", line)
        begins = [first[:end] for end, letter in enumerate(first) if letter == "_"]
        told |= {first} | {next(b + name for b in begins if b + name in fields) for name in others}
    assert told == fields - elsewhere


def test_make_help_describes_every_target() -> None:
    makefile = (ROOT / "Makefile").read_text()
    phony = set(re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)[0].split())
    shown = subprocess.run(
        ["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    assert set(re.findall(r"^  make ([a-z]+) +\S", shown, re.MULTILINE)) == phony


@pytest.mark.parametrize("name", ["setup.sh", "constraints.sh", "uv-env.sh"])
def test_deploy_scripts_are_valid_and_name_no_registry(name: str) -> None:
    path = ROOT / "deploy" / name
    subprocess.run(["bash", "-n", str(path)], check=True)
    assert not re.search(r"https?://", path.read_text()), f"{name} names a host; pip's configuration decides"
