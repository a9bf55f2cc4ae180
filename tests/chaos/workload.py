"""What is submitted: small jobs of many kinds, each drawn from the seed and its number."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from closegap.storage.artifacts import ArtifactStore
from closegap.storage.registry import Registry
from closegap_core import bundle
from closegap_core.config import ExportConfig, TrainConfig
from closegap_core.data import load
from closegap_core.fit import finish, fit

MODEL = "base"
"""Name of the exported model that most jobs encode with."""
ROWS = {"rows": 96, "more": 160}
"""Files of rows to encode."""
LABEL = "mark"

_TRAIN: dict[str, Any] = {
    "kind": "train",
    "data": {"source": "digits", "split": {"train": 64, "valid": 32, "test": 32}},
    "model": {"likelihood": "bernoulli", "levels": [{"latent": 4, "decoder": {"hidden": [16]}}]},
    "inference": {"method": "iterative", "iterations": 2, "encoder": {"hidden": [16]}},
    "training": {"epochs": 6, "batch_size": 16},
}
STEPS = 4
"""Of an epoch."""
_INLINE: dict[str, Any] = {"resources": {"workers": 0}}


@dataclass(frozen=True)
class Wanted:
    """One submission. again: sent a second time later, under the same key and, if `conflict`, with another spec."""

    number: int
    specs: tuple[dict[str, Any], ...]
    expected: str = "accepted"
    conflict: bool = False
    cancelled: bool = False
    """By who submitted it, at once."""

    @property
    def key(self) -> str:
        """Its idempotency key."""
        return f"chaos-{self.number}"

    @property
    def mark(self) -> str:
        """Label of its jobs."""
        return f"n{self.number}"

    @property
    def on_ray(self) -> bool:
        """Whether it runs on ranks."""
        return any(spec.get("resources", {}).get("workers") for spec in self.specs)

    def body(self, other: bool = False) -> list[dict[str, Any]]:
        """Specs as they are sent; `other`: of another submission under the same key."""
        mark = f"{self.mark}-other" if other else self.mark
        return [{**spec, "labels": {LABEL: mark}} for spec in self.specs]


def prepare(folder: Path, storage: str) -> None:
    """Rows to encode, and a trained and exported model under the name `MODEL`."""
    folder.mkdir(parents=True)
    draw = np.random.default_rng(0)
    for name, rows in ROWS.items():
        np.save(folder / f"{name}.npy", draw.random((rows, 64), np.float32))
    store = ArtifactStore(storage)
    config = TrainConfig.model_validate({name: _TRAIN[name] for name in TrainConfig.model_fields})
    dataset = load(config.data, config.model.likelihood.kind, [])
    for _ in fit(config, dataset, folder / "checkpoints"):
        continue
    digest = ""
    with store.staged(MODEL, 1) as staged:
        finish(config, dataset, folder / "checkpoints", staged)
        bundle.write(staged, "model", {"job": MODEL})
        digest = store.publish(staged)
    # Imported where it is used: the whole of it takes seconds.
    from closegap_core.export.export import export

    with store.staged(MODEL, 2) as staged:
        for _ in export(store.open(digest).path, ExportConfig(rows=16), dataset, staged):
            continue
        bundle.write(staged, "model", {"job": MODEL})
        digest = store.publish(staged)
    Registry(store).register(MODEL, digest, MODEL, 1)


SHARES = {
    "encode": 60.0,
    "train": 14.0,
    "pipeline": 8.0,
    "broken": 5.0,
    "user": 5.0,
    "impossible": 2.0,
    "invalid": 2.0,
}
"""How often each kind of submission comes; Ray jobs (`ranks`) come with the faults that need them."""
FIRST = ("encode", "broken", "impossible", "train", "user", "encode")
"""What every run has, however short: something for each sentence of the contract."""


def wanted(seed: int, number: int, data: Path, kind: str | None = None) -> Wanted:
    """The submission of a number."""
    draw = random.Random(f"closegap chaos {seed} job {number}")
    if kind is None:
        drawn = draw.choices(list(SHARES), list(SHARES.values()))[0]
        kind = FIRST[number - 1] if 0 < number <= len(FIRST) else drawn
    common: dict[str, Any] = {
        "priority": 100 if kind == "ranks" else draw.choice([50, 50, 50, 20, 80, 95]),
        "preemptible": kind != "ranks" and draw.random() < 0.3,
        "retries": {"infrastructure": 1 if draw.random() < 0.1 else 40},
    }
    specs = tuple({**spec, **common} for spec in _specs(kind, draw, data))
    expected = "refused" if kind in ("impossible", "invalid") else "accepted"
    return Wanted(
        number,
        specs,
        expected,
        conflict=number == 1 or draw.random() < 0.06,
        cancelled=kind == "encode" and (number == len(FIRST) or draw.random() < 0.04),
    )


def _specs(kind: str, draw: random.Random, data: Path) -> list[dict[str, Any]]:
    seed = draw.randrange(4)
    train = {**_TRAIN, **_INLINE, "name": "t", "training": {**_TRAIN["training"], "seed": seed}}
    if kind == "train":
        return [{**train, **({"register": f"trained-{seed}"} if draw.random() < 0.5 else {})}]
    if kind == "ranks":
        training = {**train["training"], "epochs": 60}
        return [{**train, "training": training, "resources": {"workers": draw.choice([1, 2]), "cpus": 0.5}}]
    if kind in ("pipeline", "broken"):
        source = {**_TRAIN["data"], "source": "digits-9000"}
        return [
            train if kind == "pipeline" else {**train, "data": source},
            {"kind": "export", "name": "x", "model": "${t.model}", "export": {"rows": 16}, **_INLINE},
            {"kind": "encode", "name": "c", "model": "${x.model}", "data": {"part": "test"}, **_INLINE},
        ]
    name = draw.choice(list(ROWS))
    encode = {
        "kind": "encode",
        "name": "c",
        "model": MODEL,
        "data": {"source": str(data / f"{name}.npy")},
        "encode": {"batch_size": 8, "shard_rows": draw.choice([1, 2]), "seed": 0},
        **_INLINE,
    }
    if kind == "user":
        return [{**encode, "data": {"source": str(data / "nothing.npy")}}]
    if kind == "impossible":
        return [{**encode, "resources": {"workers": 0, "cpus": 4000}}]
    if kind == "invalid":
        return [encode, {**encode, "name": "d", "needs": ["nobody"]}]
    return [encode]


def same(spec: dict[str, Any]) -> str:
    """Equal for specs whose artefacts must be equal: what is computed, not when, by whom or after what.

    By how many ranks belongs to it: sums over ranks round otherwise than sums of one.
    """
    told = ("priority", "preemptible", "retries", "labels", "needs", "register", "resources")
    kept = {name: value for name, value in spec.items() if name not in told}
    ranks = max(1, spec.get("resources", {}).get("workers", 1))
    return json.dumps({**kept, "ranks": ranks}, sort_keys=True)
