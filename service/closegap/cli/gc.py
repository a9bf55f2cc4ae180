"""Removing what nobody needs any more: `gc`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from closegap.cli import output, words
from closegap.cli.command import AsJson, add
from closegap.cli.connection import refuse_service
from closegap.cli.errors import UsageError
from closegap.cli.parts import actor, open_access, open_artifacts, open_queue

if TYPE_CHECKING:
    from closegap.storage.retention import Garbage


def gc(
    older_than: Annotated[
        str, typer.Option(help="Only what ended, or was written, longer ago: 30d, 12h.")
    ] = "30d",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would go.")] = False,
    as_json: AsJson = False,
) -> None:
    """Remove records of old pipelines, and bundles and folders that nothing refers to.

    What a registered model, a job that stays, or the lineage of a bundle that stays names is never removed. Results of
    `closegap run` are kept only as long as they are new or registered.
    """
    from closegap.storage import retention

    try:
        before = datetime.now(UTC) - timedelta(seconds=words.seconds_of(older_than))
    except (ValueError, OverflowError) as error:
        raise UsageError(f"--older-than {older_than}: {error}") from error
    refuse_service("gc")
    queue, artifacts = open_queue(), open_artifacts()
    found = (retention.find if dry_run else retention.collect)(queue, artifacts, before)
    if not dry_run and (found.jobs or found.bundles or found.folders):
        open_access().audit.record(actor(), "gc", "", f"{len(found.jobs)} jobs, {len(found.bundles)} bundles")
    if as_json:
        output.document(
            {
                "removed": not dry_run,
                "jobs": found.jobs,
                "bundles": found.bundles,
                "folders": [str(folder) for folder in found.folders],
                "workers": found.workers,
                "bytes": found.bytes,
            }
        )
        return
    _tell(found, "would go" if dry_run else "removed")


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(app, "gc", gc, "closegap gc --dry-run", "closegap gc --older-than 7d", "closegap gc --dry-run --json")


def _tell(found: Garbage, verb: str) -> None:
    """One line a thing, and the sum."""
    for line in (*found.jobs, *found.bundles, *found.folders, *found.workers):
        output.line(f"{verb}  {line}")
    output.say(
        f"{verb}: {len(found.jobs)} jobs, {len(found.bundles)} bundles, {len(found.folders)} folders, "
        f"{len(found.workers)} workers, {found.bytes / 1e6:.1f} MB"
    )
