"""`python -m tests.chaos`: a service under faults, and what an auditor says of it.

CHAOS_SEED, CHAOS_FAULTS and CHAOS_JOBS say which, how many, and under how much work; options say the same.
Exits with 1 when a sentence of the delivery contract was broken, or was not put to the test.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from closegap.cli.processes import interruptible
from closegap_workers.cluster import Keeper
from tests.chaos import report
from tests.chaos.auditor import audit
from tests.chaos.history import History
from tests.chaos.run import Plan, Run


def main() -> int:
    """Exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.chaos", description=__doc__)
    seed = os.environ.get("CHAOS_SEED") or str(int(time.time()))
    parser.add_argument("--seed", type=int, default=int(seed))
    parser.add_argument("--faults", type=int, default=int(os.environ.get("CHAOS_FAULTS") or 300))
    parser.add_argument("--jobs", type=int, default=int(os.environ.get("CHAOS_JOBS") or 400))
    parser.add_argument("--without", action="append", default=[], help="a kind of fault to leave out")
    parser.add_argument(
        "--folder", type=Path, help="where logs, storage and history are kept; absent: temporary"
    )
    parser.add_argument("--audit", type=Path, help="run nothing: audit the history of this folder once more")
    parser.add_argument("--json", action="store_true", help="what was found, as JSON on stdout")
    chosen = parser.parse_args()
    if chosen.audit is not None:
        return _judged(History.read(chosen.audit / "history.json"), chosen.json)
    folder = chosen.folder or Path(tempfile.mkdtemp(prefix="closegap-chaos-"))
    folder.mkdir(parents=True, exist_ok=True)
    plan = Plan(chosen.seed, chosen.faults, chosen.jobs, frozenset(chosen.without))
    with interruptible():
        history = _run(plan, folder)
    history.write(folder / "history.json")
    status = _judged(history, chosen.json)
    sys.stderr.write(f"logs, storage and history are in {folder}\n")
    return status


def _judged(history: History, as_json: bool) -> int:
    verdicts = audit(history)
    if as_json:
        print(json.dumps(report.document(history, verdicts)))
    else:
        report.show(history, verdicts)
    return 0 if all(verdict.kept for verdict in verdicts) else 1


def _run(plan: Plan, folder: Path) -> History:
    console = Console(stderr=True)
    columns = (TextColumn("{task.description:40}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    keeper = Keeper(folder / "ray", None, 4)
    try:
        with Progress(*columns, console=console, disable=not console.is_terminal) as progress:
            task = progress.add_task("Ray", total=plan.faults)

            def say(what: str, done: int) -> None:
                progress.update(task, description=what, completed=done)
                if not console.is_terminal:
                    console.print(f"{time.strftime('%H:%M:%S')} {done}/{plan.faults} {what}", highlight=False)

            return Run(plan, folder, keeper.ready(lambda: False), say).through()
    finally:
        keeper.stop()


if __name__ == "__main__":
    sys.exit(main())
