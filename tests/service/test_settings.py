"""Settings come from the environment, from one place, and say what is wrong with them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from closegap.errors import SettingsError
from closegap.settings import Settings


def test_defaults_are_absolute(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    settings = Settings.load()
    assert settings.home == tmp_path / "closegap-data"
    assert settings.storage == (tmp_path / "closegap-data" / "storage").as_uri()
    assert settings.data_roots == (tmp_path,)
    assert settings.redis_url is None


def test_the_environment_is_read_and_options_win(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CLOSEGAP_HOME", str(tmp_path / "a"))
    monkeypatch.setenv("CLOSEGAP_DATA_ROOTS", os.pathsep.join([str(tmp_path), "/"]))
    monkeypatch.setenv("CLOSEGAP_LEASE_SECONDS", "5")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    settings = Settings.load(home=None, namespace="other")
    assert (settings.home, settings.namespace) == (tmp_path / "a", "other")
    assert settings.data_roots == (tmp_path, Path("/"))
    assert (settings.lease_seconds, settings.ray_address) == (5.0, "10.0.0.1:6379")
    assert Settings.load(home=tmp_path / "b").home == tmp_path / "b"


def test_an_empty_variable_is_absent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEGAP_REDIS_URL", "")
    assert Settings.load().redis_url is None


def test_all_that_is_wrong_is_said_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEGAP_LEASE_SECONDS", "soon")
    monkeypatch.setenv("CLOSEGAP_NAMESPACE", "a b")
    with pytest.raises(SettingsError, match=r"(?s)CLOSEGAP_NAMESPACE: .*CLOSEGAP_LEASE_SECONDS: "):
        Settings.load()


def test_the_password_in_a_url_is_not_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CLOSEGAP_REDIS_URL", "redis://:hunter2@example.org:6379/0")
    assert "hunter2" not in repr(Settings.load())
    assert "hunter2" not in str(Settings.load().model_dump())
