"""What is served of the page: its files and no others, with headers that keep it apart, whole as they were taken."""

from __future__ import annotations

import gzip
import hashlib
import re
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from closegap.api.page import SCREENS, assets
from closegap.job import State
from closegap.specs.kinds import SPECS
from tests.architecture.source import ROOT

FOLDER = ROOT / "service" / "closegap" / "page"
SCRIPTS = sorted(path for path in FOLDER.rglob("*.js") if "vendor" not in path.parts)
VENDORED = sorted(path for path in (FOLDER / "vendor").iterdir() if path.suffix in (".js", ".css"))


STRANGE = (
    "vendor/README.md",
    "vendor/preact.LICENSE",
    "../api/page.py",
    "..%2fapi%2fpage.py",
    "%2e%2e/settings.py",
    "/etc/passwd",
    "app.js%00",
    "app.js/",
    "",
    "vendor",
    "kinds/../app.js%2f",
)


@pytest.fixture
def served(url: str) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=url) as client:
        yield client


def test_every_screen_is_the_page(served: httpx.Client) -> None:
    for path in SCREENS:
        answer = served.get(re.sub(r"\{\w+\}", "1", path))
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert '<div id="page">' in answer.text
        policy = answer.headers["content-security-policy"]
        for part in (
            "default-src 'none'",
            "script-src 'self'",
            "style-src 'self'",
            "frame-ancestors 'none'",
            "base-uri 'none'",
        ):
            assert part in policy
        assert "unsafe" not in policy
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert answer.headers["cross-origin-opener-policy"] == "same-origin"


def test_files_are_sent_once_and_packed(served: httpx.Client) -> None:
    for name, found in assets().items():
        answer = served.get(f"/page/{name}")
        assert answer.status_code == 200, name
        assert answer.headers["content-type"] == found.media_type
        assert answer.content == found.plain == (FOLDER / name).read_bytes()
        assert answer.headers["vary"] == "Accept-Encoding"
        again = served.get(f"/page/{name}", headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        head = served.head(f"/page/{name}")
        assert (head.status_code, head.content) == (200, b"")
        plain = served.get(f"/page/{name}", headers={"Accept-Encoding": "identity"})
        assert plain.content == found.plain
        assert "content-encoding" not in plain.headers
    packed = sum(len(found.packed or found.plain) for found in assets().values())
    assert packed < 200_000, "the page has grown: everything of it, packed, is kept below 200 kB"


def test_only_files_of_the_page_are_there(served: httpx.Client) -> None:
    for path in STRANGE:
        answer = served.get(f"/page/{path}")
        assert answer.status_code == 404, path
        assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    assert served.post("/jobs").status_code == 405


def test_what_was_taken_is_as_it_was_taken() -> None:
    readme = (FOLDER / "vendor" / "README.md").read_text(encoding="utf-8")
    assert VENDORED
    for path in VENDORED:
        line = next(line for line in readme.splitlines() if line.startswith(f"| `{path.name}`"))
        assert hashlib.sha256(path.read_bytes()).hexdigest() in line, path.name
        licence = re.search(r"`([\w.-]+\.LICENSE)`", line)
        assert licence is not None
        assert (FOLDER / "vendor" / licence[1]).stat().st_size > 500


def test_there_is_nothing_inline_and_no_other_host() -> None:
    html = (FOLDER / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"<script(?![^>]*\bsrc=)[^>]*>|<style|\son\w+=|style=|https?://", html)
    for path in SCRIPTS:
        text = path.read_text(encoding="utf-8")
        for word in (
            "dangerouslySetInnerHTML",
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "new Function",
        ):
            assert word not in text, f"{path.name} has {word}"
        hosts = set(re.findall(r"https?://[\w.-]+", text)) - {"http://www.w3.org"}
        assert not hosts, f"{path.name} names {hosts}"


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: str(path.relative_to(FOLDER)))
def test_a_module_is_one_sitting_and_says_what_it_is(path: Path) -> None:
    lines = path.read_text(encoding="utf-8").splitlines()
    assert len(lines) <= 300, f"{path.name} has {len(lines)} lines; divide it by noun"
    assert lines[0].startswith("// "), f"{path.name} does not say what it is"


def test_every_import_is_there() -> None:
    statement = re.compile(r"""^(?:import|export)\b[^;"']*?\bfrom\s*["']([^"']+)["']""", re.MULTILINE)
    later = re.compile(r"""\bimport\(["']([^"']+)["']\)""")
    found = 0
    for path in [*SCRIPTS, *VENDORED]:
        text = path.read_text(encoding="utf-8")
        for name in statement.findall(text) + later.findall(text):
            assert name.startswith("."), f"{path.name} imports {name}: a browser finds paths only"
            assert (path.parent / name).is_file(), f"{path.name} imports {name}"
            found += 1
    assert found > 100


def test_kinds_and_states_are_those_of_the_service() -> None:
    names = (FOLDER / "kinds" / "names.js").read_text(encoding="utf-8").partition("{")[2]
    assert re.findall(r"(\w+):", names) == [*SPECS]
    views = (FOLDER / "kinds" / "index.js").read_text(encoding="utf-8").partition("KINDS = {")[2]
    assert re.findall(r"(\w+):", views) == [*SPECS]
    states = (FOLDER / "components" / "state.js").read_text(encoding="utf-8")
    [listed] = re.findall(r"STATES = \[([^]]*)\]", states)
    assert re.findall(r"\w+", listed) == [*State]


def test_every_picture_of_the_page_is_shown_in_its_document() -> None:
    shown = re.findall(r"page/([\w-]+\.png)", (ROOT / "docs" / "page.md").read_text(encoding="utf-8"))
    assert sorted(shown) == sorted(path.name for path in (ROOT / "docs" / "page").iterdir())


def test_what_the_first_screen_needs_is_asked_for_at_once() -> None:
    """Else a browser finds it level by level of the imports, a round trip each."""
    statement = re.compile(r"""^(?:import|export)\b[^;"']*?\bfrom\s*["']([^"']+)["']""", re.MULTILINE)
    needed, waiting = set(), [FOLDER / "app.js"]
    while waiting:
        path = waiting.pop()
        if path not in needed:
            needed.add(path)
            found = statement.findall(path.read_text(encoding="utf-8"))
            waiting += [(path.parent / name).resolve() for name in found]
    named = re.findall(
        r'rel="modulepreload" href="/page/([^"]+)"', (FOLDER / "index.html").read_text(encoding="utf-8")
    )
    assert sorted(named) == sorted(str(path.relative_to(FOLDER)) for path in needed - {FOLDER / "app.js"})


def test_packing_is_the_same_each_time() -> None:
    for found in assets().values():
        if found.packed is not None:
            assert gzip.decompress(found.packed) == found.plain
