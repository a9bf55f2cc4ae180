"""The client against the whole service: a real server and a real worker, which trains, exports, fails and encodes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from closegap import Client, JobFailed
from tests.serving import brief, context, secret, url
from tests.workers.conftest import Start

__all__ = ["brief", "context", "secret", "url"]

TRAIN: dict[str, Any] = {
    "name": "t",
    "data": {"source": "digits", "split": {"train": 256, "valid": 64, "test": 64}},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 2, "decoder": {"hidden": [8]}}]},
    "inference": {"method": "iterative", "iterations": 2, "encoder": {"hidden": [8]}},
    "training": {"epochs": 2, "batch_size": 64},
    "resources": {"workers": 0},
}


def test_from_a_spec_to_posteriors(
    start: Start, url: str, secret: Callable[..., str], tmp_path: Path
) -> None:
    start()
    with Client(url, secret("submitter")) as client:
        _work(client, tmp_path)
        _fails(client)


def _work(client: Client, folder: Path) -> None:
    """Train and export by a pipeline; read, download and use what it leaves."""
    trained, exported = client.submit(
        [
            {"kind": "train", **TRAIN},
            {
                "kind": "export", "name": "x", "model": "${t.model}", "export": {"rows": 64},
                "register": "m", "resources": {"workers": 0},
            },
        ]
    )  # fmt: skip
    assert exported.wait(timeout=120).state == "succeeded"
    assert trained.refresh().state == "succeeded"
    events = [event.type for event in trained.events()]
    assert events.count("epoch") == 2
    assert events[-1] == "end"
    frame = trained.metrics()
    assert isinstance(frame, pd.DataFrame)
    assert frame[frame["event"] == "epoch"]["train.elbo"].notna().all()
    assert (trained.download("model", folder / "model") / "weights.safetensors").stat().st_size > 0
    model = client.models["m"]
    x = np.random.default_rng(0).random((5, 8, 8))
    found = model.encode(x)
    assert found.mean.shape == (5, 2)
    assert found.iterations == 2
    np.testing.assert_allclose(model.encode(x.reshape(5, 64), iterations=2).elbo, found.elbo, rtol=1e-6)


def _fails(client: Client) -> None:
    """A job whose data is not there says so, with what its attempt wrote."""
    job = client.train(TRAIN, name="lost", data={"source": "no-such-file.npy"})
    with pytest.raises(JobFailed, match="no-such-file") as caught:
        job.wait(timeout=60)
    assert caught.value.failure_class == "user"
    assert caught.value.url == f"{client.connection.url}/jobs/{job.id}"
