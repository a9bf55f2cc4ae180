"""The commands through a service: logging in, contexts, and the same answers as from the store itself."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closegap.api.context import Context
from closegap.job import Capacity, Failure
from closegap.settings import Settings
from tests.api.sealed import sealed_model
from tests.client.little import Little, Says
from tests.serving import brief, context, secret, url

from .conftest import Command

__all__ = ["brief", "context", "secret", "url"]


@pytest.fixture
def settings(place: Path) -> Settings:
    """Those that the commands have, so that a service and the store itself show the same."""
    return Settings.load(api_rate=100_000.0, api_beat_seconds=0.2)


@pytest.fixture
def team(closegap: Command, url: str, secret: Callable[..., str]) -> str:
    """Logged in as an admin; the name of the context."""
    said = closegap("login", url, "--name", "team", stdin=secret("admin") + "\n")
    assert said.code == 0, said.err
    return "team"


def test_login_keeps_what_works_and_logout_forgets_it(
    closegap: Command, url: str, secret: Callable[..., str], place: Path
) -> None:
    token = secret("submitter", "vision")
    assert closegap("whoami").out.endswith("at this machine's store\n")
    said = closegap("login", url, "--project", "vision", "--json", stdin=token)
    assert said.code == 0, said.err
    name = url.removeprefix("http://").replace(":", "-")
    assert (said.json["context"], said.json["role"], said.json["projects"]) == (name, "submitter", ["vision"])
    file = place / "config" / "closegap" / "config.toml"
    assert file.stat().st_mode & 0o777 == 0o600
    assert token in file.read_text()
    assert token not in said.out + said.err
    assert closegap("whoami", "--json").json["url"] == url
    assert closegap("context", "list", "--json").json == {
        "current": name,
        "contexts": [{"name": name, "url": url, "project": "vision", "token": "kept"}],
    }
    assert closegap("context", "show").out.splitlines()[1] == f"url      {url}"
    assert closegap("context", "use", "local").out.startswith("local")
    assert closegap("context", "show", "--json").json["url"] is None
    assert closegap("context", "use", name).code == 0
    assert closegap("logout").code == 0
    assert token not in file.read_text()
    assert closegap("whoami").code == 3
    assert closegap("context", "remove", name).code == 0
    assert closegap("context", "list").out == "no contexts\n"
    assert closegap("context", "use", name).code == 102


def test_a_token_that_opens_nothing_is_not_kept(closegap: Command, url: str, place: Path) -> None:
    said = closegap("login", url, "--json", stdin="cg_000000000000_" + "a" * 43)
    assert (said.code, said.json["error"]["code"]) == (3, 3)
    assert closegap("login", url, stdin="").code == 2
    assert closegap("login", "http://127.0.0.1:1", stdin="cg_x").code == 4
    assert closegap("login", "nonsense", stdin="cg_x").code != 0
    assert not (place / "config").exists()


def test_a_token_may_stay_in_its_file(
    closegap: Command, url: str, secret: Callable[..., str], place: Path
) -> None:
    file = place / "token"
    file.write_text(secret("viewer"))
    file.chmod(0o600)
    assert closegap("login", url, "--name", "t", "--token-file", "token").code == 0
    assert closegap("context", "list", "--json").json["contexts"][0]["token"] == f"in {file}"
    assert file.read_text() not in (place / "config" / "closegap" / "config.toml").read_text()
    file.write_text(secret("admin"))
    assert closegap("whoami", "--json").json["role"] == "admin"


def test_the_prompt_does_not_echo(url: str, secret: Callable[..., str], place: Path) -> None:
    token, (near, far) = secret("viewer"), pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-c", "from closegap.cli import main; main()", "login", url],
        stdin=far, stdout=far, stderr=far, start_new_session=True,
        preexec_fn=lambda: __import__("fcntl").ioctl(far, __import__("termios").TIOCSCTTY, 0),
    )  # fmt: skip
    os.close(far)
    shown = b""
    try:
        while b"token for" not in shown:
            shown += os.read(near, 4096)
        os.write(near, token.encode() + b"\n")
        while block := os.read(near, 4096):
            shown += block
    except OSError:  # a pseudo-terminal whose other side is closed
        pass
    assert process.wait(30) == 0, shown
    assert token.encode() not in shown
    assert (place / "config" / "closegap" / "config.toml").exists()


def test_the_environment_names_a_service(
    closegap: Command, url: str, secret: Callable[..., str], monkeypatch: pytest.MonkeyPatch, train: str
) -> None:
    monkeypatch.setenv("CLOSEGAP_URL", url)
    monkeypatch.setenv("CLOSEGAP_TOKEN", secret("submitter"))
    monkeypatch.setenv("CLOSEGAP_PROJECT", "sound")
    assert closegap("whoami", "--json").json["context"] is None
    [job] = closegap("submit", train, "--json").json["jobs"]
    assert (job["project"], job["submitted_by"][:9]) == ("sound", "submitter")


def both(closegap: Command, *arguments: str) -> Any:
    """The answer of a command through the service, which must be that of the store itself."""
    asked, own = closegap(*arguments, "--json"), closegap("--context", "local", *arguments, "--json")
    assert (asked.code, asked.json) == (own.code, own.json)
    return asked.json


def test_the_same_answers_as_from_the_store(
    closegap: Command, team: str, pipeline: str, context: Context
) -> None:
    [first, second] = closegap("submit", pipeline, "--label", "night=7", "--json").json["jobs"]
    assert first["submitted_by"].startswith("admin (token ")
    context.queue.heartbeat("w1", Capacity(cpus=4))
    assert [job["id"] for job in both(closegap, "ps")["jobs"]] == [second["id"], first["id"]]
    assert both(closegap, "ps", "--state", "queued", "--label", "night=7", "--limit", "1")["jobs"][0][
        "position"
    ]
    assert both(closegap, "show", "small")["history"]
    both(closegap, "projects")
    both(closegap, "projects", "default")
    both(closegap, "workers")
    both(closegap, "validate", pipeline)
    both(closegap, "plan", pipeline)
    both(closegap, "show", "nothing-like-it")
    tables = [closegap("ps").out, closegap("--context", "local", "ps").out]
    asked, own = (re.sub(r"[\d.]+ s ", "", table) for table in tables)  # their ages
    assert asked == own
    assert closegap("logs", "small").out == closegap("--context", "local", "logs", "small").out
    assert [event["type"] for event in closegap("logs", "small", "--json").lines] == ["state"]


def test_what_is_done_to_jobs_is_done_through_the_service(
    closegap: Command, team: str, train: str, context: Context
) -> None:
    job = closegap("submit", train, "--key", "k").out.strip()
    assert closegap("submit", train, "--key", "k").out.strip() == job
    assert closegap("set", job, "--priority", "70", "--label", "a=b", "--json").json["priority"] == 70
    assert closegap("pause", job).out.split() == [job, "paused"]
    assert closegap("resume", job).out.split() == [job, "queued"]
    assert closegap("cancel", job, "no-such-job").code == 102
    assert context.queue.get(job).state == "queued", "all are known before the first is cancelled"
    assert (
        closegap("cancel", "--label", "a=b", "--state", "queued", "--json").json["jobs"][0]["state"]
        == "cancelled"
    )
    assert closegap("wait", job).code == 103
    [again] = closegap("retry", job, "--json").json["jobs"]
    assert closegap("cancel", "--all", "--json").json["jobs"][0]["id"] == again["id"]
    assert closegap("retry", job).code == 2
    assert "token" in context.audit.read(1).entries[0].actor
    assert closegap("projects", "vision", "--running", "3", "--json").json["projects"][0]["most_running"] == 3
    context.queue.heartbeat("w1", Capacity(cpus=4))
    assert closegap("workers", "drain", "w", "--json").json["workers"][0]["drained_by"]
    assert context.audit.read(1).entries[0].target == "w1", "its name, however it was asked for"
    assert closegap("workers", "undrain", "w1", "--json").json["workers"][0]["drained_by"] is None


def test_wait_and_logs_follow_to_the_end(closegap: Command, team: str, train: str, context: Context) -> None:
    job = closegap("submit", train).out.strip()
    claim = context.queue.claim("w", Capacity(cpus=1), 60)
    assert claim is not None
    context.queue.start(claim.lease)
    context.queue.report(claim.lease, [{"type": "log", "line": "hello"}])
    assert closegap("wait", job, "--timeout", "0.1s").code == 101

    def end() -> None:
        context.queue.fail(claim.lease, Failure(failure="user", message="no such column"))

    timer = threading.Timer(1.0, end)
    timer.start()
    said = closegap("logs", "-f", job)
    timer.join()
    assert said.code == 100
    assert "hello" in said.out
    said = closegap("wait", job)
    assert said.code == 100
    assert "no such column" in said.err


def test_problems_of_the_service_have_lines_too(
    closegap: Command, team: str, train: str, place: Path
) -> None:
    file = place / "wrong.yaml"
    file.write_text("kind: evaluate\nmodel: ${nothing-there.model}\n")
    said = closegap("submit", str(file), "--json")
    assert said.code == 2
    assert said.json["error"]["problems"][0]["pointer"] == "/model"


def test_models_and_encoding_through_the_service(
    closegap: Command, team: str, context: Context, place: Path
) -> None:
    digest = sealed_model(context.artifacts)
    context.registry("default").register("m", digest, "train-1", 1)
    asked, own = closegap("models", "--json").json, closegap("--context", "local", "models", "--json").json
    assert [{**fact, "path": ""} for fact in asked["models"]] == [
        {**fact, "path": ""} for fact in own["models"]
    ]
    assert (
        closegap("models", "m/1", "--json").json["files"]
        == (closegap("--context", "local", "models", "m/1", "--json").json["files"])
    )
    np.save(place / "rows.npy", np.random.default_rng(0).normal(size=(3, 4)).astype(np.float32))
    asked = closegap("encode", "m", "rows.npy", "asked", "--json").json
    own = closegap("--context", "local", "encode", "m", "rows.npy", "own", "--json").json
    assert asked["elbo"] == own["elbo"]
    assert asked["rows"] == own["rows"] == 3
    assert closegap("encode", "nothing", "rows.npy", "x").code == 102


def test_tokens_are_made_and_ended_through_the_service(closegap: Command, team: str) -> None:
    made = closegap("token", "create", "ci", "--role", "viewer", "--project", "vision", "--json").json
    both(closegap, "token", "list")
    assert made["secret"].startswith(f"cg_{made['token']['id']}_")
    assert closegap("token", "revoke", made["token"]["id"], "--json").json["revoked"]


def test_who_changed_what_is_told_by_the_service_as_by_the_store(
    closegap: Command, team: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("closegap.cli.remote._LARGEST_PAGE", 2)  # so that there are pages
    for number in range(3):
        closegap("projects", "vision", "--running", str(number))
    found = both(closegap, "audit")["entries"]
    assert [entry["action"] for entry in found] == ["project.limit"] * 3
    assert all(entry["token"] for entry in found)


def test_what_works_on_this_machine_only_says_so(closegap: Command, team: str, url: str) -> None:
    said = closegap("gc", "--dry-run")
    assert said.code == 2
    assert f"not through {url}: `closegap --context local gc`" in said.err
    assert closegap("--context", "local", "gc", "--dry-run").code == 0
    assert closegap("models", "--rebuild").code == 2
    for command in (["up"], ["worker"], ["api"], ["demo"], ["run", "-"]):
        said = closegap("--context", "team", *command)
        assert said.code == 2, command
        assert "works on this machine, not through context team" in said.err
    assert closegap("--context", "other", "ps").code == 102


def test_doctor_looks_at_the_service(
    closegap: Command, team: str, url: str, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = closegap("doctor", "--json")
    found = {check["name"]: check for check in said.json["checks"]}
    assert list(found) == ["python", "packages", "clock", "service", "token", "store", "workers"]
    assert (said.code, found["service"]["status"], found["clock"]["status"]) == (0, "ok", "ok")
    assert url in found["service"]["detail"]
    assert found["token"]["detail"] == "admin, admin of all projects"
    assert found["workers"]["status"] == "warn"
    monkeypatch.setenv("CLOSEGAP_TOKEN", "cg_000000000000_" + "a" * 43)
    said = closegap("doctor", "--json")
    found = {check["name"]: check for check in said.json["checks"]}
    assert (said.code, found["token"]["status"], found["store"]["status"]) == (1, "fail", "ok")
    monkeypatch.setenv("CLOSEGAP_URL", "http://127.0.0.1:1")
    said = closegap("doctor", "--json")
    assert (said.code, said.json["checks"][-1]["name"]) == (1, "service")
    assert json.dumps(said.json).count("closegap up") >= 1
    with Little(lambda number, asked: Says(404, b"<html>")) as another:
        monkeypatch.setenv("CLOSEGAP_URL", another.url)
        said = closegap("doctor", "--json")
    assert (said.code, said.json["checks"][-1]["name"]) == (1, "service")
    assert "is the address that of a closegap service?" in said.json["checks"][-1]["remedy"]
