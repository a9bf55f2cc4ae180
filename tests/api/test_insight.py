"""What a job's page draws beside series: ELBO by iteration, previews, learning curves, shards, lineage."""

from __future__ import annotations

import base64
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from closegap.api.context import Context
from closegap.job import Capacity, Lease
from closegap.specs import spec
from closegap_core import bundle
from tests.api.conftest import TRAIN, As
from tests.api.sealed import sealed_model

SWEEP: dict[str, Any] = {
    "kind": "sweep",
    "train": {name: value for name, value in TRAIN.items() if name not in ("kind", "resources")},
    "space": {"inference.encoder.hidden": {"choice": [[8], [16]]}},
}
EVALUATE = {"kind": "evaluate", "model": "m", "resources": {"workers": 0}}
ENCODE = {"kind": "encode", "model": "m", "data": {"part": "test"}, "resources": {"workers": 0}}
Started = Callable[[Mapping[str, Any]], tuple[str, Lease]]


@pytest.fixture
def started(context: Context) -> Started:
    """Submit a spec in project `ours` and start its attempt: the job's id and the lease."""

    def start(document: Mapping[str, Any]) -> tuple[str, Lease]:
        job = context.queue.submit(spec.parse(dict(document)), project="ours")[0]
        claim = context.queue.claim("w", Capacity(cpus=4), 60)
        assert claim is not None
        assert claim.job.id == job.id
        context.queue.start(claim.lease)
        return job.id, claim.lease

    return start


@pytest.fixture
def work(context: Context) -> Callable[[str], Path]:
    """Where the attempt of a job keeps what it works with."""

    def place(job: str) -> Path:
        found = context.artifacts.work(context.queue.get(job).work) / "held-000000000000007"
        found.mkdir(exist_ok=True)
        return found

    return place


def sealed(context: Context, kind: str, files: Mapping[str, bytes], **lineage: Any) -> str:
    with context.artifacts.staged("made", 1) as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        bundle.write(folder, kind, lineage)
        return context.artifacts.publish(folder)


def epoch(number: int) -> dict[str, Any]:
    return {"type": "epoch", "epoch": number, "valid": {"elbo_by_iteration": [-9.0, -5.0, -4.0 / number]}}


def test_iterations_over_epochs(by: As, context: Context, started: Started) -> None:
    job, lease = started(TRAIN)
    client = by("viewer", "ours")
    assert client.get(f"/v1/jobs/{job}/iterations").json() == {"epochs": [], "count": 0}
    context.queue.report(lease, [epoch(number) for number in range(1, 101)])
    context.queue.report(lease, [epoch(50), {"type": "epoch", "epoch": 100, "valid": {}}])
    found = client.get(f"/v1/jobs/{job}/iterations", params={"most": 5}).json()
    assert [item["epoch"] for item in found["epochs"]] == [1, 26, 51, 75, 100]
    assert found["count"] == 100
    assert found["epochs"][-1]["elbo"] == [-9.0, -5.0, -0.04]
    assert len(client.get(f"/v1/jobs/{job}/iterations", params={"most": 1}).json()["epochs"]) == 1
    other, _ = started(SWEEP)
    assert client.get(f"/v1/jobs/{other}/iterations").status_code == 404


PREVIEW: dict[str, Any] = {
    "format": 1, "epoch": 3, "step": 9, "rows": 1, "shape": [2, 2], "iterations": [0, 2], "elbo": [[-3.0], [None]],
    "low": 0.0, "high": 1.0, "originals": "AAAAAA==", "reconstructions": ["AAAAAA==", "/////w=="],
    "measured_rows": 4, "kl_by_dimension": [1.0, 0.0], "posterior_variance": [1.0, 0.0], "active": 0.01,
}  # fmt: skip


def test_a_preview_is_there_from_the_first_checkpoint(
    by: As, context: Context, started: Started, work: Callable[[str], Path]
) -> None:
    job, lease = started(TRAIN)
    client = by("viewer", "ours")
    assert client.get(f"/v1/jobs/{job}/preview").json() == {"preview": None}
    file = work(job) / "preview.json"
    file.write_text(json.dumps(PREVIEW))
    assert client.get(f"/v1/jobs/{job}/preview").json()["preview"]["elbo"] == [[-3.0], [None]]
    file.write_text("{")
    assert client.get(f"/v1/jobs/{job}/preview").status_code == 409
    secret = context.artifacts.root / "secret.json"
    secret.write_text(json.dumps(PREVIEW | {"epoch": 777}))
    file.unlink()
    for strange in (lambda: file.symlink_to(secret), lambda: os.mkfifo(file), file.mkdir):
        strange()
        assert client.get(f"/v1/jobs/{job}/preview").json() == {"preview": None}
        file.unlink() if not file.is_dir() or file.is_symlink() else file.rmdir()
    digest = sealed(context, "model", {"preview.json": json.dumps(PREVIEW | {"epoch": 5}).encode()})
    context.queue.succeed(lease, {"model": digest})
    assert client.get(f"/v1/jobs/{job}/preview").json()["preview"]["epoch"] == 5


def test_a_bundle_without_a_preview_has_none(by: As, context: Context, started: Started) -> None:
    job, lease = started(TRAIN)
    context.queue.succeed(lease, {"model": sealed_model(context.artifacts)})
    assert by("viewer", "ours").get(f"/v1/jobs/{job}/preview").json() == {"preview": None}


def test_an_evaluation_shows_its_reconstructions(
    by: As, context: Context, started: Started, tmp_path: Path
) -> None:
    context.registry("ours").register("m", sealed_model(context.artifacts), "train-1", 1)
    job, lease = started(EVALUATE)
    client = by("viewer", "ours")
    assert client.get(f"/v1/jobs/{job}/preview").json() == {"preview": None}
    originals = np.array([[0.0, 0.5, 1.0, 0.25]], np.float32)
    steps = np.stack([originals * 0, originals])
    np.savez(tmp_path / "arrays.npz", originals=originals, reconstructions=steps, shape=np.array([2, 2]))
    arrays = (tmp_path / "arrays.npz").read_bytes()
    context.queue.succeed(lease, {"report": sealed(context, "evaluation", {"arrays.npz": arrays})})
    found = client.get(f"/v1/jobs/{job}/preview").json()["preview"]
    assert (found["rows"], found["shape"], found["iterations"]) == (1, [2, 2], [0, 1])
    assert list(base64.b64decode(found["originals"])) == [0, 128, 255, 64]
    assert list(base64.b64decode(found["reconstructions"][0])) == [0] * 4


def test_damaged_arrays_are_told(by: As, context: Context, started: Started) -> None:
    context.registry("ours").register("m", sealed_model(context.artifacts), "train-1", 1)
    job, lease = started(EVALUATE)
    context.queue.succeed(lease, {"report": sealed(context, "evaluation", {"arrays.npz": b"PK"})})
    assert by("viewer", "ours").get(f"/v1/jobs/{job}/preview").status_code == 409


def test_learning_curves_live_and_sealed(
    by: As, context: Context, started: Started, work: Callable[[str], Path]
) -> None:
    job, lease = started(SWEEP)
    client = by("viewer", "ours")
    assert client.get(f"/v1/jobs/{job}/curves").json() == {"curves": []}
    trials = work(job) / "trials"
    for name, text in (
        ("trial-00000", "1 -9\n2 -8\n2 -7.5\nnonsense\n3 x\n4 -"),
        ("trial-00003", "1 -3\n"),
        ("trial-9", "1 -3\n"),
        ("trial-00004", ""),
    ):
        (trials / name).mkdir(parents=True)
        (trials / name / "curve.txt").write_text(text)
    assert client.get(f"/v1/jobs/{job}/curves").json()["curves"] == [
        {"trial": 0, "points": [[1, -9], [2, -7.5]]},
        {"trial": 3, "points": [[1, -3]]},
    ]
    (trials / "trial-00000" / "curve.txt").write_text("1 -9\n2 nan\n3 inf\n4 -8\n5 -7\n6 -8\n")
    (trials / "trial-00003" / "curve.txt").unlink()
    for points, found in ((100, [-9, None, None, -8, -7, -8]), (4, [-9, -8, -7, -8])):
        [curve] = client.get(f"/v1/jobs/{job}/curves", params={"points": points}).json()["curves"]
        assert [height for _, height in curve["points"]] == found
    heights = [float("nan"), None, *(-n for n in range(2, 1000))]
    curves = json.dumps([list(enumerate(heights)), []]).encode()
    digest = sealed(context, "sweep", {"curves.json": curves, "trials.json": b"[]"})
    context.queue.succeed(lease, {"sweep": digest})
    [curve] = client.get(f"/v1/jobs/{job}/curves", params={"points": 10}).json()["curves"]
    assert len(curve["points"]) <= 10
    assert [curve["points"][0], curve["points"][-1]] == [[0, None], [999, -999]]


def test_shards_are_those_of_the_ledger(
    by: As, context: Context, started: Started, work: Callable[[str], Path]
) -> None:
    context.registry("ours").register("m", sealed_model(context.artifacts), "train-1", 1)
    job, lease = started(ENCODE)
    client = by("viewer", "ours")
    assert client.get(f"/v1/jobs/{job}/shards").json() == {"shards": None}
    folder = work(job) / "encoding"
    folder.mkdir()
    (folder / "identity.json").write_text(json.dumps({"rows": 25, "settings": {"shard_rows": 10}}))
    lines = [json.dumps({"shard": n, "first": 10 * n, "rows": 10}) + "\n" for n in (1, 0)]
    (folder / "ledger.jsonl").write_text("".join(lines) + '{"shard": 2, "ro')
    expected = {"rows": 25, "shard_rows": 10, "shards": 3, "done": [0, 1], "rows_done": 20}
    assert client.get(f"/v1/jobs/{job}/shards").json() == {"shards": expected}
    files = {name: (folder / name).read_bytes() for name in ("identity.json", "ledger.jsonl")}
    context.queue.succeed(lease, {"encoding": sealed(context, "encoding", files)})
    assert client.get(f"/v1/jobs/{job}/shards").json() == {"shards": expected}
    (folder / "identity.json").write_text("{}")
    other, _ = started({**ENCODE, "seed": 1} if "seed" in ENCODE else ENCODE | {"name": "again"})
    assert client.get(f"/v1/jobs/{other}/shards").json() == {"shards": None}


def test_lineage_goes_back_to_the_data_and_names_only_what_may_be_seen(
    by: As, context: Context, started: Started
) -> None:
    job, _ = started(TRAIN)
    secret = context.queue.submit(spec.parse(dict(TRAIN)), project="theirs")[0].id
    trained = sealed(context, "model", {"config.json": b"{}"}, job=secret, data_digest="d" * 64)
    exported = sealed(context, "model", {"encoder.onnx": b"x"}, job=job, parent=trained)
    context.registry("ours").register("m", exported, job, 1)
    path = "/v1/models/m/versions/1/lineage"
    steps = by("viewer", "ours").get(path).json()["steps"]
    assert [(step["digest"], step["job"], step["data_digest"]) for step in steps] == [
        (exported, job, None),
        (trained, None, "d" * 64),
    ]
    assert steps[0]["job_kind"] == "train"
    assert by("viewer").get(path, params={"project": "ours"}).json()["steps"][1]["job"] == secret
    assert by("viewer", "ours").get("/v1/models/m/versions/2/lineage").status_code == 404


def test_a_lineage_by_hand_leads_nowhere(by: As, context: Context, started: Started) -> None:
    job, _ = started(TRAIN)
    for number, (parent, made_by) in enumerate(
        [("sha256:../../x", job[:8]), ("sha256:" + "0" * 64, "../x"), (7, {"a": 1}), ("", "*")], 1
    ):
        digest = sealed(context, "model", {"a": str(number).encode()}, job=made_by, parent=parent)
        context.registry("ours").register("m", digest, "x", 1)
        answer = by("viewer", "ours").get(f"/v1/models/m/versions/{number}/lineage")
        assert answer.status_code == 200
        [step] = answer.json()["steps"]
        assert step["job"] is None
