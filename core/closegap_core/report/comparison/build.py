"""From evaluations to a comparison's four files."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from closegap_core.config import ComparisonConfig, EntryConfig
from closegap_core.durable import write_bytes
from closegap_core.report.comparison import guard
from closegap_core.report.comparison.figures import Drawn, draw
from closegap_core.report.comparison.inputs import ComparisonError, read
from closegap_core.report.comparison.page import page
from closegap_core.report.comparison.png import png
from closegap_core.report.comparison.table import Table, table


def build(config: ComparisonConfig, evaluations: Sequence[tuple[EntryConfig, Path]], folder: Path) -> Table:
    """Write table.json, table.md, figure.png and report.html into `folder`; the table.

    evaluations: entries in order, each with the folder of its evaluation. Raises ComparisonError where two of a
    group cannot be compared, or one lacks what is shown; ReportError, StorageError.
    """
    entries = [read(entry, path) for entry, path in evaluations]
    guard.check(entries)
    found, drawn = table(config, entries), draw(config, entries)
    _write(
        folder / "table.json",
        json.dumps(found.to_dict(), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
    )
    _write(folder / "table.md", found.to_markdown())
    write_bytes(
        folder / "figure.png", png(config.title, _footnote(found, drawn), drawn.panels, drawn.columns)
    )
    page(folder / "report.html", found, drawn)
    return found


def read_table(folder: Path) -> Table:
    """The table of a comparison's bundle. Raises ComparisonError."""
    path = folder / "table.json"
    try:
        return Table.of_dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise ComparisonError(f"{path} is not the table of a comparison: {error}") from error


def _footnote(found: Table, drawn: Drawn) -> str:
    """What has to stand under a picture that is looked at by itself."""
    scale = [f"Scale {found.scale}."] if found.scale else []
    source = [f"Published: {found.published_in}."] if drawn.published and found.published_in else []
    return "\n".join([*scale, *found.data, *source])


def _write(path: Path, text: str) -> None:
    write_bytes(path, text.encode())
