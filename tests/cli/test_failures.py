"""What errors become: one line of text, an exit code, JSON where asked, and no traceback for users' errors."""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import redis

from closegap.store.address import Address

from .conftest import Command

STORE_COMMANDS = [
    ("ps",),
    ("show", "x"),
    ("logs", "x"),
    ("wait", "x"),
    ("cancel", "x"),
    ("retry", "x"),
    ("worker",),
]


@pytest.mark.parametrize("command", STORE_COMMANDS)
def test_no_store_is_4(
    closegap: Command, command: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEGAP_HOME", str(tmp_path / "nowhere"))
    said = closegap(*command)
    assert said.code == 4
    assert "closegap up" in said.err
    assert "Traceback" not in said.err
    assert not (tmp_path / "nowhere").exists()


def test_no_store_at_submit_is_4_after_the_spec_was_checked(
    closegap: Command, train: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEGAP_HOME", str(tmp_path / "nowhere"))
    assert closegap("submit", train).code == 4
    assert closegap("submit", train, "--set", "training.epochs=0").code == 2
    assert closegap("submit", train, "--json").json["error"]["code"] == 4


def test_nobody_listens_at_the_url(closegap: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEGAP_REDIS_URL", "redis://user:secret@127.0.0.1:1/0")
    said = closegap("ps")
    assert said.code == 4
    assert "127.0.0.1:1" in said.err
    assert "secret" not in said.err + said.out


def test_a_wrong_password_is_4_and_never_shown(
    closegap: Command, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEGAP_REDIS_URL", f"unix://:wrong-secret@{Address.read(home).socket}")
    said = closegap("ps")
    assert said.code == 4
    assert "password" in said.err
    assert "wrong-secret" not in said.err + said.out


def test_a_url_that_is_none_is_2(closegap: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEGAP_REDIS_URL", "http://example.org")
    said = closegap("ps")
    assert said.code == 2
    assert "redis://" in said.err


def test_a_setting_that_is_none_is_2(closegap: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEGAP_LEASE_SECONDS", "soon")
    said = closegap("ps")
    assert said.code == 2
    assert "CLOSEGAP_LEASE_SECONDS" in said.err


def test_a_fault_shows_its_place_only_when_asked(
    closegap: Command, queue: object, train: str, monkeypatch: pytest.MonkeyPatch, home: Path
) -> None:
    # A record that no version of closegap wrote: what the code does not expect.
    job = closegap("submit", train).out.strip()
    address = Address.read(home)
    client = redis.Redis(unix_socket_path=str(address.socket), password=address.password.get_secret_value())
    (key,) = [name for name in client.keys(f"*{job}*") if client.type(name) == b"hash"]
    client.hset(key, "priority", "not a number")
    client.close()
    said = closegap("show", job)
    assert said.code == 1
    assert "fault of closegap" in said.err
    assert "Traceback" not in said.err
    monkeypatch.setenv("CLOSEGAP_DEBUG", "1")
    assert "Traceback" in closegap("show", job).err


def test_a_closed_pipe_is_no_traceback(start: Callable[..., subprocess.Popen[str]], train: str) -> None:
    process = start("schema", "sweep")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert "Traceback" not in process.stderr.read()
    process.stdout = None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("ps", "--limt", "3"), "--limt"),
        (("ps", "--limit", "three"), "--limit"),
        (("sp",), "sp"),
        (("encode", "model"), "issing argument"),
    ],
)
def test_wrong_options_are_a_document_under_json(
    closegap: Command, arguments: tuple[str, ...], message: str
) -> None:
    said = closegap(*arguments, "--json")
    assert said.code == 2
    assert said.json["error"]["code"] == 2
    assert message in said.json["error"]["message"]
    plain = closegap(*arguments)
    assert (plain.code, plain.out) == (2, "")
    assert message in plain.err


def test_help_and_success_are_the_same_under_json(closegap: Command) -> None:
    assert closegap("models", "--json").json == {"models": []}
    said = closegap("models", "--help", "--json")
    assert (said.code, "Usage" in said.out) == (0, True)
