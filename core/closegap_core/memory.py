"""Memory that a process has freed, kept for what it allocates next.

By default glibc gives large buffers back to the system, which must zero their pages again: at the size of CIFAR-10 a
seventh of a training step.
"""

from __future__ import annotations

import ctypes
import sys

TRIM_THRESHOLD, MMAP_MAX = -1, -4
"""Parameters of glibc's `mallopt`."""
KEPT = 2**30
"""Bytes of free memory at the end of the heap that stay with the process."""


def keep() -> bool:
    """Keep freed memory from now on; for the process that a job or a benchmark has to itself. False: not with glibc."""
    if sys.platform != "linux":
        return False
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    return mallopt is not None and all(
        mallopt(parameter, value) == 1 for parameter, value in ((TRIM_THRESHOLD, KEPT), (MMAP_MAX, 0))
    )
