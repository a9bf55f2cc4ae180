"""Nothing that a request names is fetched: addresses in specs are names of files, which are looked for under the data
roots only, and storage is a local folder. Resolving a name would be a leak already."""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from closegap.errors import StorageError
from closegap.storage.artifacts import ArtifactStore
from closegap_core.data.source import open_source
from closegap_core.errors import DataError
from tests.api.conftest import TRAIN, As

ADDRESSES = [
    "http://169.254.169.254/latest/meta-data/", "http://[fd00:ec2::254]/",
    "http://[::ffff:169.254.169.254]/", "http://2852039166/", "http://0xa9fea9fe/",
    "http://0251.0376.0251.0376/", "http://127.0.0.1:6379/", "http://127.1/", "http://0/",
    "http://[::1]/", "http://localhost/", "http://metadata.google.internal/",
    "https://user:password@10.0.0.1/", "http://evil.example@127.0.0.1/", "http://127.0.0.1.nip.io/",
    "gopher://127.0.0.1:6379/_FLUSHALL", "dict://127.0.0.1:6379/info", "ftp://127.0.0.1/",
    "ldap://127.0.0.1/", "file:///etc/passwd", "file://localhost/etc/passwd",
    "file://evil.example/share", "FILE:///etc/passwd", "s3://bucket/key", "gs://b/k",
    "jar:http://127.0.0.1!/", "data:text/plain,x", "//127.0.0.1/x", "\\\\127.0.0.1\\share",
    "http:/\\127.0.0.1", "http://\t127.0.0.1/", "/etc/passwd", "../../../../etc/passwd",
    "/proc/self/environ", "/dev/zero", "/dev/stdin", "/proc/self/fd/0", "~/.ssh/id_rsa",
]  # fmt: skip


@pytest.fixture
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever opens a connection, or asks for an address, fails the test."""

    def refused(*arguments: Any, **_: Any) -> Any:
        pytest.fail(f"the network was used: {arguments}")

    for name in ("connect", "connect_ex"):
        monkeypatch.setattr(socket.socket, name, refused)
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, refused)


@pytest.mark.parametrize("address", ADDRESSES)
def test_data_is_read_from_the_roots_only(alone: None, address: str, tmp_path: Path) -> None:
    for source, path in ((address, None), ("mnist", address)):
        with pytest.raises(DataError) as caught:
            open_source(source, None, [tmp_path], path)
        assert "root:" not in str(caught.value)


@pytest.mark.parametrize("address", ADDRESSES)
def test_storage_is_a_local_folder(alone: None, address: str) -> None:
    local = address.lower().startswith(("file:///", "file://localhost/"))
    if not local:
        with pytest.raises(StorageError):
            ArtifactStore(address)


def test_the_service_takes_addresses_for_names_of_files(by: As) -> None:
    client = by("submitter")
    for address in ADDRESSES:
        spec = {**TRAIN, "data": {"source": address}}
        answer = client.post("/v1/jobs:plan", json=spec)
        assert answer.status_code in (200, 422), answer.text
        for field in ("model", "decoder"):
            wrong = client.post("/v1/jobs:validate", json={"kind": "evaluate", field: address})
            assert wrong.status_code == 422, address
        assert client.get("/v1/models/" + quote(address, safe="")).status_code in (400, 404), address
