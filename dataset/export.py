"""A split in the layout of Hugging Face datasets: parquet shards with the sound inside, a card."""

import json
import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX, fsync_folder, sha256_file
from crawler.summary import Progress, Summary, silent
from dataset.index import read_table
from dataset.schema import COLUMNS, PAIRS_SCHEMA
from dataset.splits import RECORD_NAME, SPLITS_NAME, read_split

EXPORT_VERSION = 1  # raise when the same split gives other files
CARD_NAME = "README.md"
SHARD_BYTES = 400 * 2**20  # of sound in one file
GROUP_BYTES = 64 * 2**20  # of sound in one row group: what a reader holds in memory
Row = Mapping[str, Any]


def export_hf(
    data: Path,
    folder: Path,
    *,
    split: str = "default",
    local: bool = False,
    progress: Progress = silent,
) -> Summary:
    """Write a split with its clips so that `datasets.load_dataset(str(folder))` reads it.

    The folder appears whole or not at all; an export that is up to date is left alone. Rows that
    may not be passed on are refused unless `local`. UserError also for a folder with other files
    in it and for a clip that is missing or altered.
    """
    record = read_split(data, split)
    parts = {
        part: list(read_table(data / SPLITS_NAME / split / described["file"]).to_pylist())
        for part, described in record["parts"].items()
    }
    rows = [row for part in parts.values() for row in part]
    bound = sum(not row["redistributable"] for row in rows)
    if bound and not local:
        raise UserError(
            f"{bound} of the {len(rows)} pairs of split {split!r} may not be passed on (column "
            "redistributable): give --local for a copy that stays with you, or make a split with "
            '--where "redistributable"'
        )
    shards = _shards(data, parts)
    digest = sha256_file(data / SPLITS_NAME / split / RECORD_NAME)
    card = _card(digest, parts, bound).encode()
    done = _is_done(folder, card, shards)
    if not done:
        _refuse_foreign(folder)
        _write(data, folder, card, shards, progress)
    return Summary(
        stage="export",
        total=len(rows),
        counts={part: len(own) for part, own in parts.items()},
        artifact=folder,
        details={"shards": len(shards), "pairs not to be passed on": bound},
        work_done=0 if done else len(rows),
    )


def _is_done(folder: Path, card: bytes, shards: Mapping[str, Any]) -> bool:
    path = folder / CARD_NAME
    whole = all((folder / name).is_file() for name in shards)
    return whole and path.is_file() and path.read_bytes() == card


def _refuse_foreign(folder: Path) -> None:
    """UserError unless `folder` is absent, empty or an older export."""
    if folder.exists() and not folder.is_dir():
        raise UserError(f"{folder} is a file: give a folder that is new or empty")
    card = folder / CARD_NAME
    ours = card.is_file() and b"\nearscribe_export: " in card.read_bytes()
    if folder.is_dir() and any(folder.iterdir()) and not ours:
        raise UserError(f"{folder} holds other files: give a folder that is new or empty")


def _write(
    data: Path,
    folder: Path,
    card: bytes,
    shards: Mapping[str, Sequence[Row]],
    progress: Progress,
) -> None:
    """Write everything beside `folder`, then put it in its place."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    prefix = f"{TEMPORARY_PREFIX}{folder.name}-"
    for orphan in folder.parent.glob(f"{prefix}*"):
        shutil.rmtree(orphan, ignore_errors=True)
    temporary = Path(tempfile.mkdtemp(prefix=prefix, dir=folder.parent))
    try:
        fresh = temporary / "new"
        (fresh / "data").mkdir(parents=True)
        for done, (name, rows) in enumerate(shards.items(), start=1):
            _write_shard(data, fresh / name, rows)
            progress(done, len(shards))
        _write_card(fresh / CARD_NAME, card)
        if folder.exists():
            folder.rename(temporary / "old")
        fresh.rename(folder)
        fsync_folder(folder.parent)
    finally:
        shutil.rmtree(temporary)


def _write_card(path: Path, card: bytes) -> None:
    with path.open("wb") as file:
        file.write(card)
        os.fsync(file.fileno())


# ---------------------------------------------------------------- shards


def _shards(data: Path, parts: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """File name within the export -> its rows."""
    shards: dict[str, list[Row]] = {}
    for part, rows in parts.items():
        runs = _runs(data, rows, SHARD_BYTES)
        for number, run in enumerate(runs):
            shards[f"data/{part}-{number:05d}-of-{len(runs):05d}.parquet"] = run
    return shards


def _runs(data: Path, rows: Sequence[Row], limit: int) -> list[list[Row]]:
    """The rows in runs whose clips take at most `limit` bytes; a larger clip is alone."""
    runs: list[list[Row]] = []
    filled = limit
    for row in rows:
        size = _clip(data, row).stat().st_size
        if filled + size > limit:
            runs.append([])
            filled = 0
        runs[-1].append(row)
        filled += size
    return runs


def _clip(data: Path, row: Row) -> Path:
    path = data / str(row["audio"]["path"])
    if not path.is_file():
        raise UserError(f"the clip {path} is missing: run `earscribe fetch`, then export again")
    return path


def _write_shard(data: Path, path: Path, rows: Sequence[Row]) -> None:
    schema = hf_schema()
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for run in _runs(data, rows, GROUP_BYTES):
            table = pa.Table.from_pylist([_with_sound(data, row) for row in run], schema=schema)
            writer.write_table(table, row_group_size=len(run))
    with path.open("rb") as written:
        os.fsync(written.fileno())


def _with_sound(data: Path, row: Row) -> dict[str, Any]:
    """The row with its clip's bytes; UserError when they are not those of the index."""
    path = _clip(data, row)
    if sha256_file(path) != row["sha256"]:
        raise UserError(f"the clip {path} is altered: run `earscribe validate` to see what else is")
    return {**row, "audio": {"bytes": path.read_bytes(), "path": path.name}}


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


# ---------------------------------------------------------------- the card


CARD = """---
pretty_name: Earscribe chamber music and captions
language: [en]
task_categories: [audio-to-text]
tags: [music, chamber-music, music-captioning]
configs:
- config_name: default
  data_files:
{files}
earscribe_export: {version}
---

# Chamber music and what is said of it

Each row is one text of one movement with one recording of it.
{warning}
{parts}

```python
from datasets import Audio, load_dataset

pairs = load_dataset("FOLDER").cast_column("audio", Audio(decode=False))
```

Without `cast_column` the sound is decoded, for which `datasets` needs its audio extra.

## Columns

{columns}

## Where it comes from

Made by Earscribe from a split whose split.json has the sha256 `{digest}`. The pages' addresses
stand in `page_url`, those of the recordings in `source_url`, the rights in `text_rights` and
`audio_rights`. The corpus is made anew from them with `earscribe crawl`, `pair`, `fetch`,
`validate`, `split` and `export`.
"""

WARNING = """
**This copy is for local use only and must not be passed on:** {bound} of its {total} pairs hold
text or music whose rights do not allow it.
"""


def _card(digest: str, parts: Mapping[str, Sequence[Row]], bound: int) -> str:
    counts = [(part, f"{len(rows):,}") for part, rows in parts.items()]
    files = (f"  - split: {part}\n    path: data/{part}-*.parquet" for part in parts)
    columns = [
        (
            f"`{field.name}`",
            _value_type(field),
            (field.metadata or {})[b"unit"].decode(),
            (field.metadata or {})[b"meaning"].decode(),
        )
        for field in PAIRS_SCHEMA
    ]
    total = sum(len(rows) for rows in parts.values())
    return CARD.format(
        files="\n".join(files),
        version=EXPORT_VERSION,
        warning=WARNING.format(bound=bound, total=total) if bound else "",
        parts=_table(("part", "pairs"), counts),
        columns=_table(("column", "type", "unit", "meaning"), columns),
        digest=digest,
    )


def _value_type(field: "pa.Field[Any]") -> str:
    if field.name == "audio":
        return "audio"
    kind = f"list of {field.type.value_type}" if isinstance(field.type, pa.ListType) else field.type
    return f"{kind}, may be null" if field.nullable else str(kind)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
