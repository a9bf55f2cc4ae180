"""Part of a file by HTTP: one range of bytes (RFC 9110, section 14), so that a download that broke off goes on."""

from __future__ import annotations

import re
from typing import Annotated, Any, NamedTuple, final

from fastapi import Depends, Header

from closegap.api.problem import Answer

_RANGE = re.compile(r"bytes=[ \t]*(?:(\d{1,18})-(\d{0,18})|-(\d{1,18}))[ \t]*", re.ASCII)
_FILE = {"application/octet-stream": {"schema": {"type": "string", "contentEncoding": "binary"}}}
BYTES: dict[int | str, Any] = {
    200: {"description": "The file's bytes.", "content": _FILE},
    206: {"description": "The bytes that `Range` asks for; `Content-Range` says which.", "content": _FILE},
}
"""`responses` of a route that sends a file, beside its problems."""


@final
class Span(NamedTuple):
    """Bytes of a file, from `start` up to and without `stop`, of `size` in all."""

    start: int
    stop: int
    size: int
    asked: bool = True
    """Whether a range was asked for; else it is the whole file."""

    @property
    def status(self) -> int:
        """Of an answer that sends these bytes."""
        return 206 if self.asked else 200

    @property
    def headers(self) -> dict[str, str]:
        """Of an answer that sends these bytes."""
        sent = {"Accept-Ranges": "bytes", "Content-Length": str(self.stop - self.start)}
        if self.asked:
            sent["Content-Range"] = f"bytes {self.start}-{self.stop - 1}/{self.size}"
        return sent


@final
class Wanted(NamedTuple):
    """What a request says of the part that it wants."""

    range: str | None
    if_range: str | None

    def of(self, etag: str, size: int) -> Span:
        """The bytes to be sent of a file with this strong entity tag.

        Several ranges, other units, and what is no range at all may be ignored: then it is the whole file; so it is
        where `If-Range` names another file. Raises Answer 416: no such bytes.
        """
        whole = Span(0, size, size, asked=False)
        found = _RANGE.fullmatch(self.range or "")
        if found is None or self.if_range not in (None, etag):
            return whole
        first, last, suffix = found.groups()
        if suffix is not None:
            start, stop = max(0, size - int(suffix)), size
        else:
            start, stop = int(first), min(int(last or size) + 1, size)
            if last and int(last) < int(first):
                return whole
        if start >= size:
            said = f"the file has {size} bytes, none of them in `{self.range}`"
            raise Answer(416, "no_such_range", said, {"Content-Range": f"bytes */{size}"})
        return Span(start, stop, size)


def wanted(
    asked: Annotated[
        str | None,
        Header(alias="Range", description="`bytes=0-1023`, `bytes=1024-` or `bytes=-500`: one range."),
    ] = None,
    if_range: Annotated[
        str | None,
        Header(alias="If-Range", description="The `ETag` of what was begun; of another file all is sent."),
    ] = None,
) -> Wanted:
    """Of a request."""
    return Wanted(asked, if_range)


Part = Annotated[Wanted, Depends(wanted)]
