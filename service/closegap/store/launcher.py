"""Become the store's server, tied to the process that started it: `python -I launcher.py PARENT SERVER CONFIG`.

The kernel ends this process (SIGTERM, on which the server saves and goes) when its parent's thread dies, even by
kill -9, and the setting survives exec. Run as a file, it imports nothing of the package, so it is quick.
Where the kernel has no such call (macOS) an orphan keeps the lock and is adopted by the next start.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

_PR_SET_PDEATHSIG = 1


def main(parent: int, server: str, *arguments: str) -> None:
    """Never returns."""
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
        if os.getppid() != parent:
            sys.exit("the parent died before the store was tied to it")
    os.execv(server, [server, *arguments])


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
