"""Parquet shards with the sound inside, as Hugging Face datasets load them."""

import json
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataset.contents import Contents, Row, clip_of, read_parts, sound_of
from dataset.places import Writer
from dataset.schema import COLUMNS, PAIRS_SCHEMA

SHARDS_NAME = "data"  # the folder of the shards
SHARD_BYTES = 400 * 2**20  # of sound in one file
GROUP_BYTES = 64 * 2**20  # of sound in one row group: what a reader holds in memory
WRITING: Mapping[str, Any] = {
    "compression": "zstd",
    # Pages end where the contents say so: a changed row changes its own pages alone, and a
    # store that keeps equal stretches once keeps the others.
    "use_content_defined_chunking": True,
}


def hf_contents(data: Path, split: str, local: bool) -> Contents:
    """A split with its clips in parquet shards."""
    parts, digest = read_parts(data, split, local)
    files = _shards(data, parts)
    return Contents(
        form="hf",
        made_from=digest,
        source=f"the split {split}, whose split.json",
        schema=hf_schema(),
        parts=parts,
        patterns={part: [f"{SHARDS_NAME}/{part}-*.parquet"] for part in parts},
        files=files,
        counts={part: len(rows) for part, rows in parts.items()},
        details={"shards": len(files)},
    )


def _shards(data: Path, parts: Mapping[str, Sequence[Row]]) -> dict[str, Writer]:
    shards: dict[str, Writer] = {}
    for part, rows in parts.items():
        runs = _runs(data, rows, SHARD_BYTES)
        for number, run in enumerate(runs):
            name = f"{SHARDS_NAME}/{part}-{number:05d}-of-{len(runs):05d}.parquet"
            shards[name] = partial(_write_shard, data, run)
    return shards


def _runs(data: Path, rows: Sequence[Row], limit: int) -> list[list[Row]]:
    """The rows in runs whose clips take at most `limit` bytes; a larger clip is alone."""
    runs: list[list[Row]] = []
    filled = limit
    for row in rows:
        size = clip_of(data, row).stat().st_size
        if filled + size > limit:
            runs.append([])
            filled = 0
        runs[-1].append(row)
        filled += size
    return runs


def _write_shard(data: Path, rows: Sequence[Row], path: Path) -> None:
    schema = hf_schema()
    with pq.ParquetWriter(path, schema, **WRITING) as writer:
        for run in _runs(data, rows, GROUP_BYTES):
            table = pa.Table.from_pylist([_with_sound(data, row) for row in run], schema=schema)
            writer.write_table(table, row_group_size=len(run))


def _with_sound(data: Path, row: Row) -> dict[str, Any]:
    name = Path(row["audio"]["path"]).name
    return {**row, "audio": {"bytes": sound_of(data, row), "path": name}}


def hf_schema() -> pa.Schema:
    """The index's schema with what `datasets` needs to know of each column."""
    features = {column.name: _feature(column.type) for column in COLUMNS}
    info = json.dumps({"info": {"features": features | {"audio": {"_type": "Audio"}}}})
    metadata = {**(PAIRS_SCHEMA.metadata or {}), b"huggingface": info.encode()}
    return PAIRS_SCHEMA.with_metadata(metadata)


def _feature(kind: pa.DataType) -> dict[str, Any]:
    if isinstance(kind, pa.ListType):
        return {"feature": _feature(kind.value_type), "_type": "List"}
    return {"dtype": {"double": "float64"}.get(str(kind), str(kind)), "_type": "Value"}
