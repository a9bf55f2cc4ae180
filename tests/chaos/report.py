"""What a run has shown, for a person and for a program."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.chaos.auditor import Verdict
from tests.chaos.history import History


def document(history: History, verdicts: list[Verdict]) -> dict[str, Any]:
    """As JSON."""
    return {
        "seed": history.seed,
        "seconds": round(history.ended - history.began, 1),
        "kept": all(verdict.kept for verdict in verdicts),
        "faults": dict(sorted(Counter(fault.kind for fault in history.struck).items())),
        "jobs": dict(Counter(record["state"] for record in history.jobs.values())),
        "verdicts": [asdict(verdict) for verdict in verdicts],
    }


def show(history: History, verdicts: list[Verdict]) -> None:
    """Tables of the faults and of the sentences, then every breach."""
    console = Console()
    states = Counter(record["state"] for record in history.jobs.values())
    faults = Table("fault", "times", "met a job", "jobs met", "windows", title=f"faults, seed {history.seed}")
    for kind in sorted({fault.kind for fault in history.struck}):
        of_kind = [fault for fault in history.struck if fault.kind == kind]
        hits = [hit for fault in of_kind for hit in fault.hits]
        windows = Counter(hit.window for hit in hits)
        told = ", ".join(f"{window} {count}" for window, count in windows.most_common())
        met = sum(bool(fault.hits) for fault in of_kind)
        faults.add_row(kind, str(len(of_kind)), str(met), str(len(hits)), told)
    console.print(faults)
    sentences = Table("sentence", "", "evidence", title="the delivery contract", show_lines=True)
    for verdict in verdicts:
        evidence = ", ".join(f"{name} {count}" for name, count in verdict.evidence.items())
        sentences.add_row(verdict.sentence, "kept" if verdict.kept else "BROKEN", evidence)
    console.print(sentences)
    told = ", ".join(f"{count} {state}" for state, count in states.most_common())
    console.print(
        f"{len(history.struck)} faults, {len(history.jobs)} jobs ({told}), "
        f"{history.ended - history.began:.0f} s, seed {history.seed}"
    )
    for verdict in verdicts:
        for breach in verdict.breaches:
            console.print(
                f"BROKEN  {verdict.sentence.partition('.')[0]}: {breach}", markup=False, highlight=False
            )
