"""Freed memory stays with the process that asks for it."""

from __future__ import annotations

import subprocess
import sys

import pytest

SCRIPT = """
import resource, sys
import torch
from closegap_core import memory

if sys.argv[1] == "keep":
    assert memory.keep()
for _ in range(8):
    torch.ones(2**24)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(8):
    torch.ones(2**24)
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="mallopt is glibc's")
def test_kept_memory_is_not_faulted_in_again() -> None:
    """64 MiB, allocated and freed eight times."""
    given_back, kept = (
        int(subprocess.run([sys.executable, "-c", SCRIPT, word], capture_output=True, check=True).stdout)
        for word in ("default", "keep")
    )
    assert given_back > 200
    assert kept < given_back / 2
