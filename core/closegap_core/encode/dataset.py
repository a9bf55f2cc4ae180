"""A whole data set encoded into a folder, shard by shard; a later process takes up where one was killed."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime

from closegap_core.config import EncodeConfig
from closegap_core.data import Counts, Rows
from closegap_core.data.draw import fixed
from closegap_core.durable import file_digest, write_bytes
from closegap_core.encode.encoder import Encoder, EncoderInfo, check_rows
from closegap_core.encode.quality import Validation
from closegap_core.encode.store import Columns, EncodingStore, table
from closegap_core.errors import EncodeError
from closegap_core.progress import Pace, Progress

FORMAT = 1
BINS = 40
LOW = 0.01
"""Of the validation rows' ELBO: rows that are further down are unlike the data."""


class EncodingSummary(NamedTuple):
    """The last thing an encoding yields. metrics: what `metrics.json` holds, equal for equal encodings; the rates
    are of the rows that this process encoded, None when there were none left."""

    metrics: dict[str, Any]
    rows_per_second: float | None
    rows_per_cpu_second: float | None

    def to_dict(self) -> dict[str, Any]:
        """As an event: {"type": "encoding", …}."""
        return {
            "type": "encoding",
            **self.metrics,
            "rows_per_second": self.rows_per_second,
            "rows_per_cpu_second": self.rows_per_cpu_second,
        }


def encode_dataset(
    encoder_path: Path,
    rows: Rows,
    ids: np.ndarray,
    folder: Path,
    config: EncodeConfig,
    identity: dict[str, Any],
    validation: Validation | None = None,
    wrote: Callable[[int, int], None] = lambda number, rows: None,
) -> Iterator[Progress | EncodingSummary]:
    """Encode rows (N, X) float32, or Counts, with ids (N,) int64 into `folder`; yields progress, last the summary.

    identity: what must be equal when work is taken up again; its `model` is written beside each row. Where the model
    was trained on draws (x ~ Bernoulli(row), dequantised bytes), so are rows encoded, by `config.seed` and position.
    validation: what the rows' ELBO is set beside in the summary. wrote: is told the number and rows of each shard that
    is there from now on.
    Raises EncodeError: rows that do not fit, another encoding in `folder`, rows lost; StorageError: a full disk.
    """
    encoder = Encoder(encoder_path, config.threads)
    few = rows[:1] if isinstance(rows, Counts) else rows  # counts are what they must be
    check_rows(few, encoder.info, stored=True)
    encoder.count(config.iterations)  # before the folder is claimed for settings that can never run
    if len(ids) != len(rows):
        raise EncodeError(f"{len(rows)} rows came with {len(ids)} ids")
    store = EncodingStore(folder, _identity(encoder_path, rows, ids, config, identity))
    shards = range(math.ceil(len(rows) / config.shard_rows))
    done = sum(entry.rows for entry in store.entries.values())
    pace = Pace(len(rows), "row", done)
    resumed, wall, cpu = done, time.perf_counter(), time.process_time()
    for shard in shards:
        if shard in store.entries:
            continue
        first = shard * config.shard_rows
        part = slice(first, min(first + config.shard_rows, len(rows)))
        x = fixed(encoder.info.draw, rows[part], config.seed, first)
        encoding = encoder(x, config.iterations, config.batch_size)
        store.write(shard, first, table(ids[part], encoding, str(identity["model"])))
        done += part.stop - part.start
        wrote(shard, part.stop - part.start)
        if (due := pace.due(done)) is not None:
            yield due
    wall, cpu = time.perf_counter() - wall, time.process_time() - cpu
    metrics = _metrics(store.finish(ids), encoder.info, validation)
    write_bytes(folder / "metrics.json", (json.dumps(metrics, indent=2, allow_nan=False) + "\n").encode())
    new = done - resumed
    yield EncodingSummary(metrics, new / wall if new else None, new / cpu if new else None)


def _identity(
    encoder: Path, rows: Rows, ids: np.ndarray, config: EncodeConfig, identity: dict[str, Any]
) -> dict[str, Any]:
    hasher = hashlib.sha256()
    for first in range(0, len(rows), config.shard_rows):
        hasher.update(np.ascontiguousarray(rows[first : first + config.shard_rows]).data)
    hasher.update(np.ascontiguousarray(ids).data)
    return {
        "format": FORMAT,
        **identity,
        "encoder_sha256": file_digest(encoder),
        "rows": len(rows),
        "rows_sha256": hasher.hexdigest(),
        "settings": config.model_dump(mode="json"),
        "onnxruntime": onnxruntime.__version__,
    }


def _metrics(columns: Columns, info: EncoderInfo, validation: Validation | None) -> dict[str, Any]:
    """Equal for equal encodings: no times, no rates. elbo in nats, over rows."""
    elbo = columns.elbo.astype(np.float64)
    if not np.isfinite(elbo).all():
        row = int(columns.row[~np.isfinite(elbo)][0])
        raise EncodeError(f"the ELBO of row {row} is not finite; its posterior is of no use")
    beside = elbo if validation is None else np.concatenate([elbo, np.asarray(validation.elbo)])
    counts, edges = np.histogram(elbo, np.histogram_bin_edges(beside, BINS))
    spread = float(elbo.std(ddof=1) / math.sqrt(len(elbo))) if len(elbo) > 1 else 0.0
    return {
        "rows": len(elbo),
        "latent": info.latent,
        "iterations": int(columns.iterations.max()),
        "elbo": float(elbo.mean()),
        "elbo_standard_error": spread,
        "elbo_quantiles": {str(p): float(np.quantile(elbo, p / 100)) for p in (0, 5, 25, 50, 75, 95, 100)},
        "elbo_histogram": {"edges": edges.tolist(), "counts": counts.tolist()},
        **({} if validation is None else {"validation": _against(elbo, edges, validation)}),
    }


def _against(elbo: np.ndarray, edges: np.ndarray, validation: Validation) -> dict[str, Any]:
    """Validation rows in the same bins, and how many encoded rows are explained worse than nearly all of those."""
    known = np.asarray(validation.elbo)
    lowest = float(np.quantile(known, LOW))
    return {
        "rows": len(known),
        "iterations": validation.iterations,
        "elbo": float(known.mean()),
        "counts": np.histogram(known, edges)[0].tolist(),
        "low_quantile": LOW,
        "low_elbo": lowest,
        "below": float((elbo < lowest).mean()),
    }
