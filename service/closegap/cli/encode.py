"""Encoding rows here and now, with numpy and ONNX Runtime alone: `encode`."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

import typer

from closegap.cli import completion, output, words
from closegap.cli.board import Row, board
from closegap.cli.command import AsJson, add
from closegap.cli.connection import open_service
from closegap.cli.errors import NotFinished, ProcessFailed, UsageError
from closegap.cli.service import EncoderFile, not_exported

if TYPE_CHECKING:
    from closegap_core.config import EncodeConfig
    from closegap_core.encode import EncodingSummary

Model = Annotated[
    str,
    typer.Argument(
        help="A registered model, name/3, sha256:…, the folder of a bundle, or an .onnx file.",
        autocompletion=completion.models,
    ),
]
Data = Annotated[str, typer.Argument(help="A file of rows, or a source as in a spec: digits, mnist, …")]
Out = Annotated[Path, typer.Argument(help="Folder for the Parquet files; work begun there is taken up.")]


class Rows(NamedTuple):
    """The rows to encode, as a spec's `data` names them."""

    source: str
    array: str | None
    path: str | None


def encode(
    model: Model,
    data: Data,
    out: Out,
    array: Annotated[str | None, typer.Option(help="Name of the array inside an .npz file.")] = None,
    path: Annotated[
        str | None, typer.Option(help="Folder of a published source such as mnist, or of images.")
    ] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Inference iterations; absent: the file's.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a session call.")] = 256,
    shard_rows: Annotated[int, typer.Option(min=1, help="Rows a Parquet file.")] = 4096,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    seed: Annotated[int, typer.Option(min=0, help="Of x ~ Bernoulli(row), where the model needs it.")] = 0,
    as_json: AsJson = False,
) -> None:
    """Encode rows to approximate posteriors: row, mean, log_var, elbo, iterations, model digest. No queue, no torch.

    Interrupted and run again with the same arguments it goes on; with another model, data or settings it refuses.
    """
    from closegap_core.config import EncodeConfig

    config = EncodeConfig(
        iterations=iterations, batch_size=batch_size, shard_rows=shard_rows, threads=threads, seed=seed
    )
    try:
        summary = _encode(model, Rows(data, array, path), out, config, quiet=as_json)
    except KeyboardInterrupt as interrupt:
        raise NotFinished(f"interrupted; the same command goes on with what is in {out}") from interrupt
    if as_json:
        output.document({"path": str(out.absolute()), **_figures(summary)})
        return
    output.line(str(out))
    metrics = summary.metrics
    speed = f" at {words.rate(summary.rows_per_second, 'row')}" if summary.rows_per_second else ""
    output.say(
        f"{metrics['rows']} rows{speed}; mean ELBO {words.nats(metrics['elbo'])} ± "
        f"{words.nats(metrics['elbo_standard_error'])} nats"
    )
    look = f"import pyarrow.parquet as p; print(p.read_table({str(out)!r}).slice(0, 3))"
    output.next_commands([(f'{shlex.quote(sys.executable)} -c "{look}"', "look at the first rows")])


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "encode", encode,
        "closegap encode mnist-encoder rows.npy encoded",
        "closegap encode mnist-encoder/2 rows.npz encoded --array images --iterations 10",
        "closegap encode ./encoder.onnx digits encoded --json",
        "closegap encode mnist-encoder fashion-mnist encoded --path ~/data/fashion-mnist",
    )  # fmt: skip


def _encode(model: str, data: Rows, out: Path, config: EncodeConfig, quiet: bool) -> EncodingSummary:
    import numpy as np

    from closegap_core.data import load_rows
    from closegap_core.encode import Encoder, encode_dataset
    from closegap_core.progress import Progress

    with _encoder(model) as (encoder, digest), board(quiet) as shown:
        likelihood = Encoder(encoder).info.likelihood
        rows, _, data_digest = load_rows(data.source, data.array, _roots(data), data.path, likelihood)
        if out.exists() and not out.is_dir():
            raise UsageError(f"OUT {out}: a file is there; give a folder")
        out.parent.mkdir(parents=True, exist_ok=True)
        ids = np.arange(len(rows), dtype=np.int64)
        identity = {"model": digest, "data_digest": data_digest}
        for step in encode_dataset(encoder, rows, ids, out, config, identity):
            if not isinstance(step, Progress):
                return step
            shown.show(
                [Row("encode", "encode", "encode", "running", step.done, step.total, step.unit, step.rate)]
            )
    raise ProcessFailed(f"the encoding in {out} ended without a summary")


@contextmanager
def _encoder(model: str) -> Iterator[EncoderFile]:
    """Of a file or folder here, or of a registered model, wherever the registry is."""
    from closegap_core.bundle import open_bundle
    from closegap_core.durable import file_digest

    path = Path(model)
    if path.suffix == ".onnx":
        if not path.is_file():
            raise UsageError(f"MODEL {model}: there is no such file")
        yield EncoderFile(path, f"sha256:{file_digest(path)}")
    elif path.is_dir():
        bundle = open_bundle(path)
        if "encoder.onnx" not in bundle.files:
            raise UsageError(not_exported(model, bundle.kind, bundle.digest))
        yield EncoderFile(bundle.file("encoder.onnx"), bundle.digest)
    else:
        with open_service().encoder(model) as found:
            yield found


def _roots(data: Rows) -> tuple[Path, ...]:
    """The data roots; a file or folder that the user names here may lie anywhere the user can read."""
    from closegap.settings import Settings

    roots = Settings.load().data_roots
    named = [Path(data.source)] if Path(data.source).is_file() else []
    named += [Path(data.path)] if data.path is not None else []
    return (*roots, *(place.resolve().parent for place in named))


def _figures(summary: EncodingSummary) -> dict[str, Any]:
    return {name: value for name, value in summary.to_dict().items() if name != "type"}
