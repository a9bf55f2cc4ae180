"""The evaluations that are compared, as their jobs left them."""

from __future__ import annotations

import json
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from closegap_core.config.comparison import EntryConfig
from closegap_core.errors import CoreError


class ComparisonError(CoreError):
    """Evaluations that cannot be compared, or that lack what is to be shown: names the field and the values."""


@final
@dataclass(frozen=True)
class Entry:
    """One evaluation, under its label."""

    config: EntryConfig
    metrics: dict[str, Any]
    folder: Path

    @property
    def label(self) -> str:
        """Its name within its group."""
        return self.config.label

    @property
    def group(self) -> str:
        """Entries of one group are ranked."""
        return self.config.group

    @property
    def identity(self) -> dict[str, Any]:
        """What it was measured on and how."""
        found: dict[str, Any] = self.part("identity")
        return found

    def part(self, name: str) -> Any:
        """A part of the metrics. Raises ComparisonError where it is missing or null."""
        if self.metrics.get(name) is None:
            raise ComparisonError(
                f"the evaluation of `{self.label}` has no `{name}`: measure it again, with that asked for"
            )
        return self.metrics[name]

    def rows(self, name: str) -> np.ndarray | None:
        """A figure row by row, (N,); None of an evaluation that did not keep it."""
        path = self.folder / "arrays.npz"
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return file[name] if name in file.files else None
        except (OSError, ValueError, EOFError, zipfile.BadZipFile) as error:
            raise ComparisonError(f"{path}, of `{self.label}`, cannot be read: {error}") from error

    def arrays(self, *names: str) -> list[np.ndarray]:
        """Arrays of the evaluation. Raises ComparisonError where one is missing."""
        path = self.folder / "arrays.npz"
        try:
            with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:
                return [file[name] for name in names]
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise ComparisonError(
                f"the evaluation of `{self.label}` does not have the arrays {', '.join(names)}: {error}"
            ) from error


def read(config: EntryConfig, folder: Path) -> Entry:
    """The evaluation whose bundle is `folder`. Raises ComparisonError."""
    path = folder / "metrics.json"
    try:
        metrics = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ComparisonError(f"{path}, of `{config.label}`, cannot be read: {error}") from error
    if not isinstance(metrics, dict):
        raise ComparisonError(
            f"{path}, of `{config.label}`, holds {type(metrics).__name__}; expected an object"
        )
    return Entry(config, metrics, folder)
