"""The page: its HTML, styles and scripts, out of the wheel. They hold no data, so they need no token.

What the page shows it asks the API for, as every other client does.
"""

from __future__ import annotations

import gzip
import hashlib
from functools import cache
from importlib.resources import files
from importlib.resources.abc import Traversable
from typing import Annotated, NamedTuple, final

from fastapi import APIRouter, Path, Request, Response

from closegap.errors import NotFound

SCREENS = (
    "/",
    "/jobs",
    "/jobs/{job}",
    "/submit",
    "/models",
    "/models/{name}",
    "/models/{name}/{version}",
    "/workers",
    "/login",
)
"""Addresses of the page that a person may open, or load again: all of them get its HTML."""
ASSETS = "/page/{file:path}"
ICON = "/favicon.ico"
"""What browsers ask for beside answers that are not of the page, such as a file that is looked at."""
PATHS = frozenset({*SCREENS, ASSETS, ICON})
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
    ".woff2": "font/woff2",
}
"""What is served; whatever else lies in the folder (licences, notes) is not."""
_POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "connect-src 'self'",
        "font-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'self'",
    )
)
_HEADERS = {
    # Kept by the browser, and asked for again each time: a new version is never mixed with an old one.
    "Cache-Control": "no-cache",
    "Content-Security-Policy": _POLICY,
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Permissions-Policy": "camera=(), geolocation=(), microphone=()",
    "Referrer-Policy": "no-referrer",
    "Vary": "Accept-Encoding",
    "X-Content-Type-Options": "nosniff",
}
_SMALLEST = 512
"""Bytes from which compressing is worth it."""
router = APIRouter(include_in_schema=False)


@final
class Asset(NamedTuple):
    """A file as it is sent."""

    media_type: str
    digest: str
    plain: bytes
    packed: bytes | None


@cache
def assets() -> dict[str, Asset]:
    """Every file of the page by its name below `/page/`: only these can be had, whatever a path says."""
    return dict(_found(files("closegap") / "page", ""))


def _found(folder: Traversable, prefix: str) -> list[tuple[str, Asset]]:
    found = []
    for item in sorted(folder.iterdir(), key=lambda item: item.name):
        if item.is_dir():
            found += _found(item, f"{prefix}{item.name}/")
        elif (media_type := _TYPES.get(f".{item.name.rpartition('.')[2]}")) is not None:
            found.append((prefix + item.name, _asset(item.read_bytes(), media_type)))
    return found


def _asset(plain: bytes, media_type: str) -> Asset:
    packed = gzip.compress(plain, 9, mtime=0) if len(plain) >= _SMALLEST else None
    worth = packed is not None and len(packed) < len(plain)
    return Asset(media_type, hashlib.sha256(plain).hexdigest()[:32], plain, packed if worth else None)


def screen(request: Request) -> Response:
    """The page's HTML; its script shows what the address asks for."""
    return _sent("index.html", request)


for _path in SCREENS:
    router.add_api_route(_path, screen, methods=["GET", "HEAD"], response_class=Response)


@router.api_route(ICON, methods=["GET", "HEAD"], response_class=Response)
def icon(request: Request) -> Response:
    """The page's picture."""
    return _sent("icon.svg", request)


@router.api_route(ASSETS, methods=["GET", "HEAD"], response_class=Response)
def asset(file: Annotated[str, Path(max_length=200)], request: Request) -> Response:
    """A style sheet, a script, a picture."""
    return _sent(file, request)


def _sent(name: str, request: Request) -> Response:
    """Raises NotFound."""
    found = assets().get(name)
    if found is None:
        raise NotFound(f"the page has no file `{name[:100]}`")
    packs = found.packed is not None and "gzip" in request.headers.get("accept-encoding", "")
    tag = f'"{found.digest}{"-gz" if packs else ""}"'
    headers = _HEADERS | {"ETag": tag}
    if tag in request.headers.get("if-none-match", ""):
        return Response(status_code=304, headers=headers)
    content = found.plain
    if packs and found.packed is not None:
        content, headers = found.packed, headers | {"Content-Encoding": "gzip"}
    return Response(content, headers=headers, media_type=found.media_type)
