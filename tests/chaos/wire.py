"""A wire between clients and the store that can be torn: `python -m tests.chaos.wire LISTEN TARGET`, a socket each.

Orders come on stdin: `mute SECONDS` lets questions through and throws the answers away, `cut SECONDS` lets nothing
through; at the end of either every connection is reset. A path behind it is made a file when the wire is torn.
"""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import final

from closegap_workers.process import die_with_parent


@final
class Wire:
    """Every connection, and what is done to them."""

    def __init__(self, target: str) -> None:
        self._target = target
        self._torn = ""
        self._open: set[asyncio.StreamWriter] = set()

    async def connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One client, until either side ends."""
        if self._torn == "cut":
            writer.transport.abort()
            return
        try:
            theirs, ours = await asyncio.open_unix_connection(self._target)
        except OSError:
            writer.transport.abort()
            return
        ends = {writer, ours}
        self._open |= ends
        ways = [
            asyncio.ensure_future(self._pass(reader, ours, ("cut",))),
            asyncio.ensure_future(self._pass(theirs, writer, ("cut", "mute"))),
        ]
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for way in ways:
            way.cancel()
        for end in ends:
            end.transport.abort()
        self._open -= ends

    async def _pass(
        self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, dropped: tuple[str, ...]
    ) -> None:
        try:
            while part := await source.read(1 << 16):
                if self._torn not in dropped:
                    sink.write(part)
                    await sink.drain()
        except OSError:
            return

    async def obey(self, orders: asyncio.StreamReader) -> None:
        """Until there are no more orders."""
        while line := await orders.readline():
            how, seconds, *told = line.decode().split()
            self._torn = how
            for path in told:
                Path(path).touch()
            await asyncio.sleep(float(seconds))
            self._torn = ""
            for end in list(self._open):
                end.transport.abort()


async def _serve(listen: str, target: str) -> None:
    wire = Wire(target)
    server = await asyncio.start_unix_server(wire.connected, listen)
    orders = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(orders), sys.stdin
    )
    async with server:
        await wire.obey(orders)


if __name__ == "__main__":
    import signal

    die_with_parent(signal.SIGKILL, os.getppid())
    asyncio.run(_serve(*sys.argv[1:]))
