"""doctor: each check, well and unwell, against real folders and the real store."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from closegap.cli import checks as check
from closegap.job import Capacity
from closegap.queue.queue import Queue
from closegap.settings import Settings
from closegap.store.address import Address
from closegap.store.store import connect

from .conftest import Command


def test_a_healthy_machine(closegap: Command, queue: Queue, place: Path) -> None:
    queue.heartbeat("w", Capacity(cpus=2, gpus=0))
    said = closegap("doctor", "--json")
    assert said.code == 0, said.out
    found = {item["name"]: item for item in said.json["checks"]}
    assert "appendfsync always" in found["store"]["detail"]
    assert {check["status"] for check in found.values()} <= {"ok", "warn"}
    assert found["workers"]["detail"] == "1 alive with 2 CPUs and 0 GPUs"
    assert found["torch"]["status"] == "ok"


def test_what_is_wrong_comes_with_a_remedy(
    closegap: Command, place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = place / "home"
    home.mkdir()
    (home / "ray-token").write_text("secret")
    (home / "ray-token").chmod(0o644)
    home.chmod(0o777)
    monkeypatch.setenv("CLOSEGAP_HOME", str(home))
    monkeypatch.setenv("CLOSEGAP_STORAGE", "s3://bucket")
    monkeypatch.setenv("CLOSEGAP_DATA_ROOTS", str(place / "absent"))
    said = closegap("doctor", "--json")
    assert said.code == 1
    assert "secret" not in said.out
    found = {item["name"]: item for item in said.json["checks"]}
    assert [name for name, check in found.items() if check["status"] == "fail"] == [
        "storage", "data roots", "store", "ray",
    ]  # fmt: skip
    assert found["home"]["status"] == "warn"
    assert found["store"]["remedy"].startswith("start one with `closegap up`")
    assert "closegap up" not in found["store"]["detail"], "the remedy is said once"
    assert all(check["remedy"] for check in found.values() if check["status"] != "ok")


def test_a_store_that_may_lose_jobs_is_a_warning(place: Path) -> None:
    client = connect(Settings.load())
    client.config_set("maxmemory-policy", "allkeys-lru")
    try:
        found = check.store(Settings.load())
    finally:
        client.config_set("maxmemory-policy", "noeviction")
        client.close()
    assert found.status == "warn"
    assert "noeviction" in found.detail


def test_a_wrong_password_fails_the_store_check(
    place: Path, home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLOSEGAP_REDIS_URL", f"unix://:wrong-secret@{Address.read(home).socket}")
    found = check.store(Settings.load())
    assert found.status == "fail"
    assert "refuses the password" in found.detail
    assert "wrong-secret" not in str(found)


def test_a_ray_address_is_tried(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        monkeypatch.setenv("RAY_ADDRESS", f"127.0.0.1:{server.getsockname()[1]}")
        assert check.ray(Settings.load()).status == "ok"
    assert check.ray(Settings.load()).status == "fail"
    monkeypatch.setenv("RAY_ADDRESS", "somewhere")
    assert "host:port" in check.ray(Settings.load()).detail


def test_people_read_a_table(closegap: Command, monkeypatch: pytest.MonkeyPatch, place: Path) -> None:
    monkeypatch.setenv("CLOSEGAP_HOME", str(place / "nowhere"))
    said = closegap("doctor")
    assert said.code == 1
    assert re.search(r"fail +store ", said.out)
    assert "→ start one with `closegap up`" in said.out
