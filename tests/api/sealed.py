"""A small model bundle with a real exported encoder, made by hand in ONNX: what the API lists, sends and runs."""

from __future__ import annotations

import json
from pathlib import Path

from onnx import TensorProto, helper

from closegap.storage.artifacts import ArtifactStore
from closegap_core import bundle


def sealed_model(artifacts: ArtifactStore, job: str = "train-1", **files: bytes) -> str:
    """A published bundle: config.json, metrics.json, encoder.onnx and `files`; its digest."""
    with artifacts.staged(job, 1) as folder:
        (folder / "config.json").write_text("{}")
        (folder / "metrics.json").write_text(json.dumps({"summary": {"valid_elbo": -10.5}}))
        (folder / "notes").mkdir()
        (folder / "notes" / "read me.html").write_text("<script>alert(1)</script>")
        (folder / "encoder.onnx").write_bytes(encoder())
        for name, content in files.items():
            (folder / name).write_bytes(content)
        bundle.write(folder, "model", {"register": "m", "job": job})
        return artifacts.publish(folder)


def encoder(width: int = 4) -> bytes:
    """mean = (x0, x1), log_var = (x2, x3), elbo = −(x0 + x1 + x2 + x3)."""
    nodes = [
        helper.make_node("Split", ["x"], ["mean", "log_var"], axis=1, num_outputs=2),
        helper.make_node("ReduceSum", ["x", "axes"], ["sum"], keepdims=0),
        helper.make_node("Neg", ["sum"], ["elbo"]),
    ]
    rows = "N"
    graph = helper.make_graph(
        nodes,
        "encoder",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [rows, width])],
        [
            helper.make_tensor_value_info("mean", TensorProto.FLOAT, [rows, 2]),
            helper.make_tensor_value_info("log_var", TensorProto.FLOAT, [rows, 2]),
            helper.make_tensor_value_info("elbo", TensorProto.FLOAT, [rows]),
        ],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    facts = {
        "format_version": 1,
        "latent": 2,
        "iterations": None,
        "preprocess": {
            "width": width, "shape": [width], "likelihood": "gaussian", "range": None, "binarise": False,
        },
    }  # fmt: skip
    helper.set_model_props(model, {f"closegap.{name}": json.dumps(value) for name, value in facts.items()})
    return bytes(model.SerializeToString())


def bundle_folder(artifacts: ArtifactStore, digest: str) -> Path:
    """Where a bundle lies."""
    return artifacts.root / "bundles" / digest.removeprefix("sha256:")
