"""Encode: rows through an exported encoder, in shards with a ledger that survives the attempt."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any, final

import numpy as np

from closegap.specs.kinds import EncodeSpec, RowsConfig
from closegap_core.config import EncodeConfig
from closegap_core.data import Rows, load, load_rows
from closegap_core.encode import EncodingSummary, Validation, encode_dataset
from closegap_core.group import Group
from closegap_workers.channel import Channel
from closegap_workers.runners.runner import (
    Context,
    Product,
    Result,
    Runner,
    Task,
    model_task,
    trained_config,
)


@final
class EncodeRunner(Runner):
    """Leaves a bundle of kind `encoding`."""

    kind = "encode"

    def task(self, context: Context) -> Task:
        spec = context.spec
        assert isinstance(spec, EncodeSpec)
        bundle, task = model_task(context, spec.model)
        return {
            **task,
            "encoder": str(bundle.file("encoder.onnx")),
            "data": spec.data.model_dump(mode="json"),
            "encode": spec.encode.model_dump(mode="json"),
            "folder": str(context.work / "encoding"),
        }

    def work(self, task: Task, channel: Channel, group: Group) -> Task | None:
        rows, ids, digest = _rows(task)
        config, identity = EncodeConfig.model_validate(task["encode"]), {"model": task["digest"]}
        encoder, folder = Path(task["encoder"]), Path(task["folder"])
        validation = Validation.read(encoder.parent)

        def wrote(number: int, count: int) -> None:
            channel.piece("shard", shard=number, rows=count)

        for event in encode_dataset(encoder, rows, ids, folder, config, identity, validation, wrote):
            channel.put(event.to_dict())
            if isinstance(event, EncodingSummary):
                return {"rows": len(rows), "data_digest": digest}
            if channel.stopped():
                return None
        raise RuntimeError("an encoding ended without a summary")

    def result(self, context: Context, task: Task, answer: Task) -> Result:
        lineage = context.lineage(parent=task["digest"], data_digest=answer["data_digest"])
        folder = context.stage()
        _mirror(Path(task["folder"]), folder)
        return Result(
            {"encoding": Product(folder, "encoding", lineage, path_output="path")}, {"rows": answer["rows"]}
        )


def _rows(task: dict[str, Any]) -> tuple[Rows, np.ndarray, str]:
    """Rows (N, X), their ids (N,) and the digest of where they come from."""
    data, roots = RowsConfig.model_validate(task["data"]), [Path(root) for root in task["roots"]]
    config = trained_config(Path(task["model"]))
    likelihood = config.model.likelihood.kind
    if data.source is not None:
        rows, _, digest = load_rows(data.source, data.array, roots, data.path, likelihood)
        return rows, np.arange(len(rows), dtype=np.int64), digest
    dataset = load(config.data, likelihood, roots)
    part = {"train": dataset.train, "valid": dataset.valid, "test": dataset.test}[data.part or "test"]
    return part.rows, part.ids, dataset.digest


def _mirror(work: Path, folder: Path) -> None:
    """The same files in another folder. Shards are linked, not copied: they are large, and never written to again.

    The work folder stays whole, so that a death before publication costs nothing.
    """
    for path in work.iterdir():
        if path.suffix == ".parquet":
            os.link(path, folder / path.name)
        else:
            shutil.copyfile(path, folder / path.name)
