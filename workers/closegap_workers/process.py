"""Processes: none outlives the one that answers for it.

Three means, each for a death the others do not see. A child asks the kernel for a signal when its parent dies
(`die_with_parent`); a parent asks to inherit the orphans of its descendants (`adopt_orphans`), so that nothing
escapes by forking twice or by opening a session of its own; and `end` goes on until nothing it looks for is left.
Linux only: elsewhere the first two do nothing, and only `end` is there.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Collection

import psutil

_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_ROUNDS = 20


class ProcessError(Exception):
    """A process could not be set up, or would not end."""


def _prctl(option: int, value: int) -> None:
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, value, 0, 0, 0) != 0:
        raise ProcessError(f"prctl({option}, {value}) failed: {os.strerror(ctypes.get_errno())}")


def die_with_parent(number: signal.Signals, parent: int) -> None:
    """Receive signal `number` when the thread that forked this process ends.

    `parent` is the process that should be the parent: had it died before this call, the kernel would stay silent,
    so its absence ends this process here. Raises ProcessError.
    """
    _prctl(_PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        raise SystemExit(f"parent process {parent} is gone")


def adopt_orphans() -> None:
    """Become the parent of every descendant whose own parent ends. Raises ProcessError."""
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def children() -> set[psutil.Process]:
    """Direct children of this process, orphans it inherited among them."""
    return set(psutil.Process().children())


def strangers(known: Collection[psutil.Process]) -> list[psutil.Process]:
    """Children of this process that are not `known`, each with all its descendants."""
    found: list[psutil.Process] = []
    for child in children() - set(known):
        found.append(child)
        try:
            found.extend(child.children(recursive=True))
        except psutil.NoSuchProcess:
            continue  # it ended just now; what it left is a child of ours in the next round
    return found


def end(find: Callable[[], list[psutil.Process]], grace: float) -> list[int]:
    """End what `find` finds, SIGTERM first and SIGKILL after `grace` seconds, until it finds nothing.

    Returns the process ids that were found. Raises ProcessError if processes are still found after many rounds.
    """
    seen: list[int] = []
    for turn in range(_ROUNDS):
        found = find()
        if not found:
            return seen
        seen.extend(process.pid for process in found)
        for process in found:
            _signal(process, signal.SIGTERM if turn == 0 and grace > 0 else signal.SIGKILL)
        psutil.wait_procs(found, timeout=grace if turn == 0 else 1.0)
    raise ProcessError(f"processes {sorted(process.pid for process in find())} would not end")


def _signal(process: psutil.Process, number: signal.Signals) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
