"""The project's source as syntax trees: what the architecture tests ask about."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ROOT = Path(__file__).parents[2]
ROOMS = {"core": "closegap_core", "service": "closegap", "workers": "closegap_workers"}


@dataclass(frozen=True)
class Module:
    """One Python file of a room."""

    room: str
    name: str
    path: Path
    tree: ast.Module

    @property
    def where(self) -> str:
        """Path from the repository's root."""
        return str(self.path.relative_to(ROOT))

    def imports(self) -> Iterator[str]:
        """Dotted names that this module imports, at any depth; `from a import b` gives `a.b`."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                if node.level:
                    raise AssertionError(f"{self.where}:{node.lineno}: relative import; write the whole name")
                yield from (f"{node.module}.{alias.name}" for alias in node.names)

    def uses(self, dotted: str) -> list[int]:
        """Lines on which the dotted name (`os.environ`) is read, or imported."""
        owner, _, attribute = dotted.rpartition(".")
        lines = [
            node.lineno
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Attribute) and node.attr == attribute and ast.unparse(node.value) == owner
        ]
        return lines + [
            node.lineno
            for node in ast.walk(self.tree)
            if isinstance(node, ast.ImportFrom)
            and node.module == owner
            and any(alias.name == attribute for alias in node.names)
        ]

    def calls(self, name: str) -> list[int]:
        """Lines on which the bare name is called."""
        return [
            node.lineno
            for node in ast.walk(self.tree)
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name
        ]


@cache
def modules() -> tuple[Module, ...]:
    """Every Python file of the three rooms, by path."""
    found = []
    for room, package in ROOMS.items():
        for path in sorted((ROOT / room / package).rglob("*.py")):
            parts = path.relative_to(ROOT / room).with_suffix("").parts
            name = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            found.append(Module(room, name, path, ast.parse(path.read_text(encoding="utf-8"), str(path))))
    return tuple(found)


def under(name: str, prefixes: frozenset[str] | set[str]) -> bool:
    """Whether the dotted name is one of the prefixes or lies inside one."""
    parts = name.split(".")
    return any(".".join(parts[: end + 1]) in prefixes for end in range(len(parts)))


def each_module(rule: Callable[[Module], None]) -> Callable[[], None]:
    """One test of a rule, which tells of every file that breaks it. A test a file took longer to begin than to run."""

    def test() -> None:
        broken = []
        for module in modules():
            try:
                rule(module)
            except AssertionError as error:
                broken.append(str(error))
        assert not broken, "\n".join(broken)

    test.__name__, test.__doc__ = rule.__name__, rule.__doc__
    return test
