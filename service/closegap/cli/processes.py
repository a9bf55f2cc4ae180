"""Processes that a command starts and stops: each in its own session, none outlives the command."""

from __future__ import annotations

import importlib.util
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import IO, final

from closegap.cli.errors import ProcessFailed
from closegap.store import launcher

_TIED = (sys.executable, "-I", "-S", str(Path(launcher.__file__)))
"""Receives SIGTERM when the main thread of its parent ends, however that ends, then becomes the given command."""


@final
class Child:
    """A running `python -m …`, of the workers unless said. Made by the main thread: the kernel watches that thread."""

    def __init__(
        self,
        arguments: list[str],
        environment: Mapping[str, str],
        log: IO[bytes] | None = None,
        order: str | None = None,
        module: str = "closegap_workers",
        descriptors: Sequence[int] = (),
    ) -> None:
        """`log` takes what it writes; with an `order`, given on its stdin, stdout is kept for `lines`.

        `descriptors` stay open in it, under their numbers.
        """
        if module == "closegap_workers":
            require_workers()
        self._name = arguments[0]
        self.process: subprocess.Popen[bytes] = subprocess.Popen(
            [*_TIED, str(os.getpid()), sys.executable, "-m", module, *arguments],
            stdin=subprocess.DEVNULL if order is None else subprocess.PIPE,
            stdout=log if order is None else subprocess.PIPE,
            stderr=log,
            env=dict(environment),
            pass_fds=descriptors,
            start_new_session=True,  # Ctrl-C reaches the command alone, which then stops its children in order
        )
        if order is not None and self.process.stdin is not None:
            try:
                self.process.stdin.write(order.encode())
                self.process.stdin.close()
            except BrokenPipeError:
                return  # it died at once; its exit code says so

    def lines(self) -> Iterator[str]:
        """What it says, line by line, until it ends."""
        for line in self.process.stdout or ():
            yield line.decode()

    def ended(self) -> bool:
        """Whether the process has ended."""
        return self.process.poll() is not None

    def check(self) -> None:
        """Raises ProcessFailed when the process has ended."""
        code = self.process.poll()
        if code is not None:
            raise ProcessFailed(f"the {self._name} process ended by itself with code {code}")

    def stop(self, grace: float) -> None:
        """SIGTERM, then SIGKILL after `grace` seconds or at a further Ctrl-C."""
        if self.process.poll() is not None:
            return
        self.process.terminate()
        try:
            self.process.wait(grace)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


def require_workers() -> None:
    """Raises ProcessFailed when the workers' packages are not installed."""
    missing = [
        name for name in ("closegap_workers", "torch", "ray") if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise ProcessFailed(
            f"not installed: {', '.join(missing)}. Install closegap with its workers: closegap[train]"
        )


@contextmanager
def interruptible() -> Iterator[None]:
    """SIGTERM and SIGHUP inside the block are what Ctrl-C is: a KeyboardInterrupt, so that everything is stopped."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    kept = {
        number: signal.signal(number, interrupt) for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT)
    }
    try:
        yield
    finally:
        for number, handler in kept.items():
            signal.signal(number, handler)
