"""TensorBoard's event files: the scalars of a training, one record an epoch, so that an epoch is there or is not.

Written by hand: what TensorBoard reads is a sequence of length-framed protocol buffers (tensorflow/core/lib/io/
record_writer, tensorflow/core/util/event.proto), and a library for it would bring torch's whole compiler into each
attempt.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import IO, final

from closegap_workers.channel import Event
from closegap_workers.recorder import Recorder, scalars

PATTERN = "*.tfevents.*"
_DOUBLE, _VARINT, _BYTES, _FLOAT = 1, 0, 2, 5
"""Wire types of a protocol buffer."""


@final
class TensorBoard(Recorder):
    """The folder of one run. A later attempt goes on in a file of its own, after the last epoch that is there."""

    name = "TensorBoard"

    def __init__(self, folder: str) -> None:
        self._folder = Path(folder)
        self._folder.mkdir(parents=True, exist_ok=True)
        self._last = max((step for _, step in recorded(self._folder)), default=-1)
        self._file: IO[bytes] | None = None

    def epoch(self, event: Event) -> None:
        step = int(event["step"])
        if step <= self._last:
            return
        if self._file is None:
            self._file = self._open()
        values = {**scalars(event), "epoch": float(event["epoch"])}
        self._file.write(framed(_event(time.time(), step, values)))
        self._last = step

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def _open(self) -> IO[bytes]:
        name = f"events.out.tfevents.{time.time_ns() // 10**9:010d}.{socket.gethostname()}.{os.getpid()}"
        # Without a buffer: what was recorded outlives a kill.
        file = (self._folder / f"{name}.{self._last + 1}").open("ab", buffering=0)
        file.write(framed(_field(1, _DOUBLE, struct.pack("<d", time.time())) + _text(3, "brain.Event:2")))
        return file


def recorded(folder: Path) -> Iterator[tuple[Path, int]]:
    """The file and step of each whole record of scalars in a folder."""
    for path in sorted(folder.glob(PATTERN)):
        for data in _records(path.read_bytes()):
            step = _step(data)
            if step is not None:
                yield path, step


def framed(data: bytes) -> bytes:
    """A record as it stands in the file."""
    length = struct.pack("<Q", len(data))
    return length + struct.pack("<I", _masked(length)) + data + struct.pack("<I", _masked(data))


# --- the format -------------------------------------------------------------------------------------------


def _event(wall_time: float, step: int, values: Mapping[str, float]) -> bytes:
    summary = b"".join(
        _block(1, _text(1, tag) + _field(2, _FLOAT, struct.pack("<f", value)))
        for tag, value in values.items()
    )
    return (
        _field(1, _DOUBLE, struct.pack("<d", wall_time))
        + _field(2, _VARINT, _varint(step))
        + _block(5, summary)
    )


def _field(number: int, wire: int, value: bytes) -> bytes:
    return _varint(number << 3 | wire) + value


def _block(number: int, value: bytes) -> bytes:
    return _field(number, _BYTES, _varint(len(value)) + value)


def _text(number: int, value: str) -> bytes:
    return _block(number, value.encode())


def _varint(value: int) -> bytes:
    found = bytearray()
    while value > 0x7F:
        found.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*found, value])


def _records(content: bytes) -> Iterator[bytes]:
    """Whole ones; what a killed writer left at the end is none."""
    place = 0
    while place + 12 <= len(content):
        length, check = struct.unpack_from("<QI", content, place)
        end = place + 12 + length + 4
        if check != _masked(content[place : place + 8]) or end > len(content):
            return
        yield content[place + 12 : end - 4]
        place = end


def _step(data: bytes) -> int | None:
    """Of an event with scalars: wall_time is its first field, step its second."""
    if len(data) < 10 or data[9] != 2 << 3 | _VARINT:
        return None
    step, shift, place = 0, 0, 10
    while data[place] & 0x80:
        step, shift, place = step | (data[place] & 0x7F) << shift, shift + 7, place + 1
    return step | data[place] << shift


def _table() -> tuple[int, ...]:
    """Of CRC-32C (Castagnoli), reflected."""
    found = []
    for byte in range(256):
        value = byte
        for _ in range(8):
            value = value >> 1 ^ (0x82F63B78 if value & 1 else 0)
        found.append(value)
    return tuple(found)


_CRC = _table()


def _masked(data: bytes) -> int:
    """CRC-32C as these files hold it."""
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC[(value ^ byte) & 0xFF] ^ value >> 8
    value ^= 0xFFFFFFFF
    return ((value >> 15 | value << 17) + 0xA282EAD8) & 0xFFFFFFFF
