"""Export of a trained model: build the file, compare it with the model, and only then write it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch

from closegap_core.bundle import open_bundle
from closegap_core.config import ExportConfig, TrainConfig
from closegap_core.data import Dataset
from closegap_core.data.draw import draw_of, fixed
from closegap_core.durable import write_bytes
from closegap_core.encode.encoder import FORMAT, PREFIX
from closegap_core.encode.quality import Quality, quality
from closegap_core.errors import ExportError, ParityError
from closegap_core.export.encoder import build
from closegap_core.export.gate import BATCH_SIZES, ELBO_LIMIT, MEDIAN_LIMIT, ROUNDING, STEP_LIMIT, Gate
from closegap_core.export.recorded import MOST_STEP_DRAWS, FixedNoise, Recorded, fixed_noise, recorded
from closegap_core.model import Model
from closegap_core.preview import PREVIEW
from closegap_core.progress import Progress
from closegap_core.trained import Trained, read_trained

ENCODER, PARITY = "encoder.onnx", "parity.json"
INHERITED = ("config.json", "weights.safetensors", "metrics.json")
LARGEST = 2**31 - 2**20
"""Bytes of weights that fit into one protobuf."""


def export(
    bundle: Path, config: ExportConfig, dataset: Dataset, folder: Path
) -> Iterator[Progress | Quality]:
    """Write into the staged `folder` the model of `bundle` with its encoder.onnx, parity.json, and what the file gives
    at which price, quality.json; unsealed.

    The gate compares file and model on validation rows of `dataset`; `folder` gets nothing unless all checks pass.
    Raises ExportError: no encoder, a second refiner, iterations of an encoder that has none, too large, rows of another
    width; ParityError: a file that differs from the model.
    """
    open_bundle(bundle)
    trained = read_trained(bundle)
    rows = _held_out(trained, dataset, config)
    parts = recorded(trained.model, config.refine)
    if config.iterations is not None and parts.last is None:
        raise ExportError(
            f"export.iterations is {config.iterations}, but an encoder of method "
            f"{trained.config.inference.method!r} is one pass; leave it out"
        )
    noise = fixed_noise(config, trained.model.generative.latent, parts.refine)
    model = _describe(_build(trained.model, noise, config), trained, config)
    oracle = read_trained(bundle, torch.float64).model
    gate = Gate(model.SerializeToString(), trained.model, oracle, noise, rows, config.refine)
    yield Progress(0, gate.count, "check")
    checks: dict[str, Any] = {}
    failures: list[str] = []
    for done, check in enumerate(gate.checks(), 1):
        checks[check.name] = check.figures
        failures += check.failures
        yield Progress(done, gate.count, "check")
    if failures:
        raise ParityError("the exported encoder differs from the trained model: " + "; ".join(failures))
    parity = _parity(checks, gate, dataset)
    model.metadata_props.add(key=f"{PREFIX}parity", value=_json(parity))
    for name in INHERITED:
        shutil.copyfile(bundle / name, folder / name)
    if (bundle / PREVIEW).exists():
        shutil.copyfile(bundle / PREVIEW, folder / PREVIEW)
    measured = quality(gate.encoder, rows, first=int(_starts_at_the_prior(trained.config, config)))
    measured.write(folder)
    write_bytes(
        folder / PARITY, (json.dumps(parity, indent=2, sort_keys=True, allow_nan=False) + "\n").encode()
    )
    write_bytes(folder / ENCODER, model.SerializeToString())
    yield measured


def _starts_at_the_prior(train: TrainConfig, config: ExportConfig) -> bool:
    """Whether the file's iteration 0 knows nothing of x."""
    own = train.inference.method == "iterative" and train.inference.start is None
    return own and config.refine is None


def _held_out(trained: Trained, dataset: Dataset, config: ExportConfig) -> np.ndarray:
    rows = dataset.valid.rows[: config.rows]
    if rows.shape[1] != trained.model.width:
        raise ExportError(
            f"{dataset.source} has rows of {rows.shape[1]} values (shape {dataset.shape}), "
            f"but the model was trained on rows of {trained.model.width} (shape {trained.shape})"
        )
    return fixed(draw_of(trained.config.model.likelihood, dataset.binarise), rows, config.seed)


def _build(model: Model, noise: FixedNoise, config: ExportConfig) -> onnx.ModelProto:
    size = sum(flat.data.numel() * 4 for flat in (model.theta, model.phi))
    if size > LARGEST:
        raise ExportError(f"the weights take {size} bytes; one ONNX file holds at most {LARGEST}")
    iterations = config.iterations or recorded(model, config.refine).iterations
    built = build(model, noise, iterations, config.refine)
    try:
        onnx.checker.check_model(built, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        raise ExportError(f"the exported graph is not valid ONNX: {error}") from error
    return built


def _describe(built: onnx.ModelProto, trained: Trained, config: ExportConfig) -> onnx.ModelProto:
    """The same model with its metadata. Nothing in it names a path or a time: equal models give equal bytes."""
    described = onnx.ModelProto()
    described.CopyFrom(built)
    described.producer_name, described.producer_version = "closegap", version("closegap")
    described.doc_string = (
        f"Encoder of a latent variable model ({_inference(trained, config)}): "
        "x -> mean and log-variance of q(z|x), and the row's ELBO in nats."
    )
    for name, value in _metadata(trained, config).items():
        described.metadata_props.add(key=PREFIX + name, value=_json(value))
    return described


def _inference(trained: Trained, config: ExportConfig) -> str:
    steps = "" if config.refine is None else f", then steps of the {config.refine.refiner.kind} refiner"
    return f"{trained.config.inference.method} inference{steps}"


def _metadata(trained: Trained, config: ExportConfig) -> dict[str, Any]:
    model, train = trained.model, trained.config.model_dump(mode="json")
    parts = recorded(model, config.refine)
    train["data"]["source"] = Path(trained.config.data.source).name
    train["data"]["path"] = None
    likelihood = trained.config.model.likelihood
    unit_interval = trained.binarise or likelihood.kind in ("bernoulli", "dequantised")
    return {
        "format_version": FORMAT,
        "latent": model.generative.latent,
        "iterations": None if parts.last is None else config.iterations or parts.iterations,
        "refine": None if parts.refine is None else parts.refine.model_dump(mode="json"),
        "config": train,
        "export": config.model_dump(mode="json"),
        "weights_sha256": weights_digest(model),
        "train": {
            "data": train["data"]["source"],
            "data_digest": trained.data_digest,
            "iterations": model.method.iterations,
            "samples": trained.config.inference.samples,
            "seed": trained.config.training.seed,
        },
        "noise": _noise(parts, config),
        "preprocess": {
            "width": model.width,
            "shape": list(trained.shape),
            "likelihood": likelihood.kind,
            "range": [0, 1] if unit_interval else None,
            "binarise": trained.binarise,
            "draw": draw_of(likelihood, trained.binarise),
        },
        "versions": {
            "closegap": version("closegap"),
            "torch": torch.__version__,
            "onnx": onnx.__version__,
            "onnxruntime": onnxruntime.__version__,
            "numpy": np.__version__,
        },
    }


def _noise(parts: Recorded, config: ExportConfig) -> dict[str, Any]:
    steps = None
    if parts.refine is not None:
        steps = {
            "kind": f"{parts.refine.refiner.draws} draws, others at each step, shared by all rows",
            "generator": "numpy PCG64 seeded by [seed, 3]",
            "steps": min(parts.refine.steps, MOST_STEP_DRAWS),
            "samples": config.samples,
        }
    return {
        "kind": "antithetic pairs of standard normal draws, shared by all rows and iterations",
        "generator": "numpy PCG64 seeded by [seed, 1] for the iterations, [seed, 2] for the ELBO",
        "seed": config.seed,
        "samples": config.samples if parts.reads_noise else 0,
        "elbo_samples": config.elbo_samples,
        "refiner": steps,
    }


def weights_digest(model: Model) -> str:
    """sha256 (hex) over names, shapes and values of all parameters, by name: the same for every export of them."""
    hasher = hashlib.sha256()
    for name, tensor in sorted(model.parameters().items()):
        hasher.update(f"{name} {tuple(tensor.shape)} <f4\n".encode())
        hasher.update(tensor.float().contiguous().numpy().astype("<f4").tobytes())
    return hasher.hexdigest()


def _parity(checks: dict[str, Any], gate: Gate, dataset: Dataset) -> dict[str, Any]:
    return {
        "checks": checks,
        "rows": len(gate.rows),
        "part": "valid",
        "data_digest": dataset.digest,
        "batch_sizes": list(BATCH_SIZES),
        "iterations": gate.iterations,
        "limits": {
            "one_step": STEP_LIMIT,
            "median_row": MEDIAN_LIMIT,
            "elbo": ELBO_LIMIT,
            "times_the_model's_own_error": ROUNDING,
            "quantile_of_worst_row": gate.worst,
        },
    }


def _json(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
