"""Exported encoders that are ready to run: one session a digest, the least used let go."""

from __future__ import annotations

import hashlib
import os
import stat
import threading
from collections import OrderedDict
from typing import TYPE_CHECKING, final

from closegap_core.bundle import Bundle
from closegap_core.errors import BundleError

if TYPE_CHECKING:
    from closegap_core.encode import Encoder

FILE = "encoder.onnx"
MOST = 4
LARGEST_BYTES = 1 << 30


@final
class Encoders:
    """Safe to share between threads; ONNX Runtime's sessions are."""

    def __init__(self, most: int = MOST) -> None:
        self._most = most
        self._kept: OrderedDict[str, Encoder] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, bundle: Bundle) -> Encoder:
        """The encoder of a bundle, its file compared with its digest when it is read.

        Raises BundleError (no encoder, altered), EncodeError (damaged).
        """
        from closegap_core.encode import Encoder

        with self._lock:
            if bundle.digest in self._kept:
                self._kept.move_to_end(bundle.digest)
                return self._kept[bundle.digest]
            # Bytes, not a path: ONNX Runtime then has no folder to read external data from.
            encoder = self._kept[bundle.digest] = Encoder(verified(bundle, FILE))
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
            return encoder


def verified(bundle: Bundle, name: str) -> bytes:
    """A small file of a bundle, whole and as its digest says. Raises BundleError."""
    facts = bundle.files.get(name)
    if facts is None or facts.bytes > LARGEST_BYTES:
        raise BundleError(
            f"bundle {bundle.digest} ({bundle.kind}) has no {name} of at most {LARGEST_BYTES} bytes"
        )
    descriptor = opened(bundle, name)
    with os.fdopen(descriptor, "rb") as stream:
        content = stream.read(facts.bytes + 1)
    if hashlib.sha256(content).hexdigest() != facts.sha256:
        raise BundleError(f"{bundle.path / name} was altered")
    return content


def opened(bundle: Bundle, name: str) -> int:
    """A descriptor of a file that the manifest names, reached without following a link. Raises BundleError.

    A name that a client gives is only ever compared with the manifest's; links, also hard ones, are refused, for a
    bundle that was copied in from elsewhere may hold them.
    """
    bundle.file(name)
    try:
        folder = os.open(bundle.path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW)
        *parents, last = name.split("/")
        for part in parents:
            folder = _inside(folder, part, os.O_DIRECTORY)
        descriptor = _inside(folder, last, 0)
    except OSError as error:
        raise BundleError(f"{bundle.path / name} cannot be read: {error.strerror}") from error
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode) or found.st_nlink != 1 or found.st_size != bundle.files[name].bytes:
        os.close(descriptor)
        raise BundleError(f"{bundle.path / name} is no plain file of the bundle")
    return descriptor


def _inside(folder: int, name: str, flags: int) -> int:
    try:
        return os.open(
            name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | flags, dir_fd=folder
        )
    finally:
        os.close(folder)
