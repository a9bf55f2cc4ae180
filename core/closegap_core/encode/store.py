"""An encoded data set on disk: Parquet shards, and a ledger that names a shard only once it is safely written.

    identity.json      model, data and settings; written first, and compared when the work is taken up again
    shard-00000.parquet …
    ledger.jsonl       one line a shard, appended after the shard; sorted when all are there

Each file appears by one rename after it was flushed. Whenever the process dies, what the ledger names is whole, and
what it does not name is made again: the finished folder is byte for byte the same.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, final

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from closegap_core.durable import append_line, file_digest, make_folder, write_bytes
from closegap_core.encode.encoder import Encoding
from closegap_core.errors import EncodeError

IDENTITY, LEDGER = "identity.json", "ledger.jsonl"


class Entry(NamedTuple):
    """One line of the ledger: rows first … first + rows are in `file`."""

    shard: int
    first: int
    rows: int
    file: str
    sha256: str


class Columns(NamedTuple):
    """What a summary needs of all shards: row ids, elbo (nats) and iterations, (N,) each."""

    row: np.ndarray
    elbo: np.ndarray
    iterations: np.ndarray


@final
class EncodingStore:
    """Writer of one encoding. Opening takes up whatever an earlier process left of the same encoding."""

    def __init__(self, folder: Path, identity: dict[str, Any]) -> None:
        """Raises EncodeError when `folder` holds another encoding, with each field that differs."""
        self.folder = folder
        make_folder(folder)
        for stray in folder.glob(".*.tmp"):
            stray.unlink(missing_ok=True)
        self._claim(identity)
        self.entries = {entry.shard: entry for entry in self._recorded()}
        self._write_ledger()  # drops a torn last line and shards that are not as recorded

    def write(self, shard: int, first: int, table: pa.Table) -> None:
        """Write one shard, then its line. Raises StorageError when the disk does not take it."""
        name = f"shard-{shard:05d}.parquet"
        buffer = pa.BufferOutputStream()
        pq.write_table(table, buffer, compression="zstd", use_dictionary=["model"])
        write_bytes(self.folder / name, buffer.getvalue().to_pybytes())
        entry = Entry(shard, first, table.num_rows, name, file_digest(self.folder / name))
        append_line(self.folder / LEDGER, _line(entry))
        self.entries[shard] = entry

    def finish(self, ids: np.ndarray) -> Columns:
        """Check that every row of `ids` is there once, in order, and sort the ledger.

        Raises EncodeError when rows in and rows out differ.
        """
        ordered = [self.entries[shard] for shard in sorted(self.entries)]
        whole = pa.concat_tables([_read(self.folder / entry.file, Columns._fields) for entry in ordered])
        columns = Columns(*(np.from_dlpack(whole[name].combine_chunks()) for name in Columns._fields))
        if not np.array_equal(columns.row, ids):
            raise EncodeError(
                f"{len(ids)} rows went in, {len(columns.row)} came out, or others, in {self.folder}"
            )
        self._write_ledger()
        return columns

    def _claim(self, identity: dict[str, Any]) -> None:
        path = self.folder / IDENTITY
        if not path.exists():
            strange = sorted(
                p.name for p in self.folder.iterdir() if p.name == LEDGER or p.suffix == ".parquet"
            )
            if strange:
                raise EncodeError(
                    f"{self.folder} holds {', '.join(strange)} but no {IDENTITY}; choose another folder"
                )
            write_bytes(path, (json.dumps(identity, indent=2, sort_keys=True) + "\n").encode())
            return
        try:
            earlier = json.loads(path.read_bytes())
        except ValueError as error:
            raise EncodeError(f"{path} is damaged: {error}; choose another folder") from error
        before, now = dict(_flat(earlier)), dict(_flat(identity))
        differing = [
            f"  {name}: {before.get(name)!r} -> {now.get(name)!r}"
            for name in sorted({*before, *now})
            if before.get(name) != now.get(name)
        ]
        if differing:
            raise EncodeError("\n".join([f"{self.folder} holds another encoding; it differs in", *differing]))

    def _recorded(self) -> Iterator[Entry]:
        """Entries whose shard is as the ledger says."""
        path = self.folder / LEDGER
        lines = path.read_bytes().splitlines(keepends=True) if path.exists() else []
        for line in lines:
            if not line.endswith(b"\n"):
                continue  # cut short by a crash: its shard is made again
            try:
                entry = Entry(**json.loads(line))
            except (ValueError, TypeError) as error:
                raise EncodeError(f"{path} is damaged: {error}; choose another folder") from error
            file = self.folder / entry.file
            if file.is_file() and file_digest(file) == entry.sha256:
                yield entry

    def _write_ledger(self) -> None:
        lines = [_line(self.entries[shard]) + "\n" for shard in sorted(self.entries)]
        write_bytes(self.folder / LEDGER, "".join(lines).encode())


def table(ids: np.ndarray, encoding: Encoding, model: str) -> pa.Table:
    """Rows as Parquet holds them: row, mean and log_var (lists of Z), elbo, iterations, model."""
    latent = encoding.mean.shape[1]
    name = model.encode()
    names = pa.StringArray.from_buffers(
        1, pa.py_buffer(np.array([0, len(name)], np.int32)), pa.py_buffer(name)
    )
    columns = {
        "row": _array(ids.astype(np.int64)),
        "mean": pa.FixedSizeListArray.from_arrays(_array(encoding.mean), latent),
        "log_var": pa.FixedSizeListArray.from_arrays(_array(encoding.log_var), latent),
        "elbo": _array(encoding.elbo),
        "iterations": _array(encoding.iterations),
        "model": pa.DictionaryArray.from_arrays(_array(np.zeros(len(ids), np.int32)), names),
    }
    return pa.Table.from_arrays(list(columns.values()), names=list(columns))


def _read(path: Path, columns: Sequence[str]) -> pa.Table:
    with pq.ParquetFile(path) as file:
        return file.read(columns=list(columns))


def _array(values: np.ndarray) -> pa.Array:
    """The values, flattened, without a copy. `pa.array` would import pandas, where there is one: a second of CPU."""
    flat = np.ascontiguousarray(values).reshape(-1)
    return pa.Array.from_buffers(pa.from_numpy_dtype(flat.dtype), flat.size, [None, pa.py_buffer(flat)])


def _line(entry: Entry) -> str:
    return json.dumps(entry._asdict(), sort_keys=True)


def _flat(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Leaves of nested objects by dotted name."""
    if isinstance(value, dict):
        for name, inner in value.items():
            yield from _flat(inner, f"{prefix}.{name}" if prefix else str(name))
    else:
        yield prefix, value
