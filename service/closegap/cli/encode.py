"""Encoding rows here and now, with numpy and ONNX Runtime alone: `encode`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from closegap.cli import output, words
from closegap.cli.command import AsJson, add
from closegap.cli.errors import NotFinished

if TYPE_CHECKING:
    pass


def encode(
    model: Annotated[
        str,
        typer.Argument(
            help="A registered model (name or name/3), a digest (sha256:…), a bundle's folder or an .onnx file."
        ),
    ],
    data: Annotated[str, typer.Argument(help="An .npy or .npz file under a data root, mnist-5k or digits.")],
    out: Annotated[
        Path, typer.Argument(help="Folder for the Parquet files; one that was begun is gone on with.")
    ],
    array: Annotated[str | None, typer.Option(help="Name of the array inside an .npz file.")] = None,
    iterations: Annotated[
        int | None, typer.Option(min=1, help="Inference iterations; absent: the model's own.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Rows a session call.")] = 256,
    shard_rows: Annotated[int, typer.Option(min=1, help="Rows a Parquet file.")] = 4096,
    threads: Annotated[int, typer.Option(min=1, help="CPU threads.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Encode rows to approximate posteriors: row, mean, log_var, elbo, iterations, model digest. No queue, no torch.

    Interrupted and run again with the same arguments it goes on; with another model, data or settings it refuses.
    """
    from closegap_core.config import EncodeConfig

    config = EncodeConfig(
        iterations=iterations, batch_size=batch_size, shard_rows=shard_rows, threads=threads
    )
    try:
        result = _encode(model, data, array, out, config, quiet=as_json)
    except KeyboardInterrupt as interrupt:
        raise NotFinished(f"interrupted; the same command goes on where {out} ends") from interrupt
    if as_json:
        output.document(result)
        return
    output.line(str(out))
    output.say(f"{result['rows']} rows in {words.duration(result['seconds'])}")
    output.next_commands(
        [
            (
                f"python -c 'import pyarrow.parquet as p; print(p.read_table(\"{out}\"))'",
                "look at the encodings",
            )
        ]
    )


def register(app: typer.Typer) -> None:
    """Add the command."""
    add(
        app, "encode", encode,
        "closegap encode mnist-encoder rows.npy encoded",
        "closegap encode mnist-encoder/2 rows.npz encoded --array images --iterations 10",
        "closegap encode ./encoder.onnx digits encoded --json",
    )  # fmt: skip
