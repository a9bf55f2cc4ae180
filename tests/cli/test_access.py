"""token, api: who may use the service by HTTP, and serving it."""

from __future__ import annotations

import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from closegap.cli.parts import open_access
from closegap.settings import Settings

from .conftest import Command


@pytest.fixture
def api(place: Path) -> Iterator[Callable[..., tuple[dict[str, Any], subprocess.Popen[str]]]]:
    """Start `closegap api`; what it says first, and the process."""
    started: list[subprocess.Popen[str]] = []

    def start(*options: str) -> tuple[dict[str, Any], subprocess.Popen[str]]:
        code = "from closegap.cli import main; main()"
        command = [sys.executable, "-c", code, "api", "--port", "0", "--json", *options]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=place
        )
        started.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, process.communicate()[1]
        said = json.loads(line)
        assert "url" in said, said
        return said, process

    yield start
    for process in started:
        if process.poll() is None:
            process.kill()
        process.communicate()


def test_who_changed_what_is_told_newest_first(closegap: Command, place: Path) -> None:
    """By this machine's store, and the same by the service before it."""
    assert closegap("audit").out.strip() == "no such changes"
    token = closegap("token", "create", "ci", "--role", "viewer", "--project", "vision", "--json").json[
        "token"
    ]["id"]
    closegap("projects", "vision", "--running", "2")
    closegap("token", "revoke", token)
    entries = closegap("audit", "--json").json["entries"]
    assert [entry["action"] for entry in entries] == ["token.revoke", "project.limit", "token.create"]
    assert entries[0]["target"] == entries[2]["target"] == token
    only = {
        "token.create": ["--action", "token.create"], "project.limit": ["--action", "project"],
        "token.revoke": ["--target", token, "--limit", "1"],
    }  # fmt: skip
    for action, options in only.items():
        assert [entry["action"] for entry in closegap("audit", *options, "--json").json["entries"]] == [
            action
        ]
    open_access().audit.record("anna", "model.alias", "sound", "m@best = 1")
    assert closegap("audit", "--target", "m", "--json").json["entries"][0]["actor"] == "anna"
    found = closegap("audit", "--project", "vision", "--json").json["entries"]
    assert [entry["action"] for entry in found] == ["project.limit", "token.create"]
    table = closegap("audit")
    assert table.out.index("token.revoke") < table.out.index("project.limit")
    assert closegap("audit", "--limit", "0").code == 2


def test_a_token_is_shown_once_and_ends_when_revoked(closegap: Command, place: Path) -> None:
    made = closegap("token", "create", "ci", "--role", "submitter", "--project", "vision", "--expires", "90d")
    assert re.fullmatch(r"cg_[0-9a-f]{12}_[\w-]{43}", made.out.strip())
    identifier = made.out.split("_")[1]
    listed = closegap("token", "list", "--json")
    assert made.out.strip() not in listed.out
    [token] = listed.json["tokens"]
    assert (token["id"], token["role"], token["projects"]) == (identifier, "submitter", ["vision"])
    assert "vision" in closegap("token", "list").out
    assert closegap("token", "revoke", identifier).code == 0
    assert closegap("token", "list", "--json").json["tokens"][0]["revoked"] is not None
    assert closegap("token", "revoke", "ffffffffffff").code == 102
    assert closegap("token", "create", "x", "--expires", "soon").code == 2
    assert closegap("token", "create", "x", "--project", "No Such!").code == 2
    assert closegap("token", "create", "x", "--role", "root").code == 2


def test_api_serves_with_a_token_in_a_private_file(
    closegap: Command, api: Callable[..., tuple[dict[str, Any], Any]], place: Path
) -> None:
    said, process = api()
    file = Path(said["token_file"])
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert httpx.get(said["url"] + "/v1/jobs").status_code == 401
    headers = {"Authorization": f"Bearer {file.read_text().strip()}"}
    me = httpx.get(said["url"] + "/v1/whoami", headers=headers).json()
    assert (me["name"], me["role"], me["projects"]) == ("local", "admin", None)
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    assert file.read_text().strip() not in err
    requests = [json.loads(line) for line in err.splitlines() if line.startswith("{")]
    assert [(line["event"], line["status"]) for line in requests] == [("request", 401), ("request", 200)]
    kept = file.read_text()
    _, again = api()
    assert file.read_text() == kept
    again.send_signal(signal.SIGINT)
    again.communicate(timeout=60)
    assert again.returncode == 0


def test_no_authentication_only_when_said(
    closegap: Command, api: Callable[..., tuple[dict[str, Any], Any]]
) -> None:
    said, _ = api("--insecure-no-auth")
    assert said["token_file"] is None
    assert httpx.get(said["url"] + "/v1/whoami").json()["name"] == "anyone"


def test_a_token_file_that_others_can_read_is_refused(closegap: Command, place: Path) -> None:
    home = Settings.load().home
    file = home / "api-token"
    file.write_text("cg_x")
    file.chmod(0o644)
    try:
        refused = closegap("api", "--port", "0")
        assert refused.code == 2
        assert "can be read by other users" in refused.err
    finally:
        os.unlink(file)


def test_an_address_that_cannot_be_listened_at(closegap: Command, place: Path) -> None:
    refused = closegap("api", "--host", "203.0.113.1", "--port", "0")
    assert refused.code == 2
    assert "cannot listen at 203.0.113.1" in refused.err


def test_a_link_to_the_page_signs_a_browser_in(
    closegap: Command, api: Callable[..., tuple[dict[str, Any], subprocess.Popen[str]]]
) -> None:
    said, _ = api()
    links = [said["page"], closegap("page", "--json").json["url"], closegap("page").out.strip()]
    assert len(set(links)) == 3
    for link in links:
        address, _, code = link.partition("#")
        assert address == f"{said['url']}/login"
        with httpx.Client(base_url=said["url"]) as browser:
            page = {"X-Closegap-Page": "1"}
            assert browser.get("/login").status_code == 200
            assert browser.post("/v1/session:redeem", json={"code": code}, headers=page).status_code == 204
            assert browser.get("/v1/whoami").json()["role"] == "admin"
            assert browser.post("/v1/session:redeem", json={"code": code}, headers=page).status_code == 401


def test_a_link_needs_a_service(closegap: Command, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("closegap.access.local_url.read", lambda home: None)
    answer = closegap("page")
    assert answer.code == 102
    assert "closegap up" in answer.err
