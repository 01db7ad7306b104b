"""A split in the layout of Hugging Face datasets: parquet shards with the sound inside, a card."""

import fcntl
import json
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from crawler.errors import LockedError, UserError
from crawler.files import (
    TEMPORARY_PREFIX,
    atomic_path,
    sha256_file,
    sweep_temporary,
    write_atomic,
)
from crawler.summary import Progress, Summary, silent
from dataset.parts import RECORD_NAME, SPLITS_NAME, read_part, read_split
from dataset.schema import COLUMNS, PAIRS_SCHEMA

EXPORT_VERSION = 2  # raise when the same split gives other files
CARD_NAME = "README.md"  # written last: an export without it is unfinished
SHARDS_NAME = "data"  # the folder of the shards
SHARD = re.compile(r"(train|validation|test)-\d{5}-of-\d{5}\.parquet")
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

    Every file appears whole, the card last; an export that is up to date is left alone, and so
    are other files beside its card. Rows that may not be passed on are refused unless `local`.
    UserError also for a folder that is not an export's and for a clip missing or altered.
    """
    record = read_split(data, split)
    made = data / SPLITS_NAME / split
    parts = {part: list(read_part(made, record, part).to_pylist()) for part in record["parts"]}
    rows = [row for part in parts.values() for row in part]
    bound = sum(not row["redistributable"] for row in rows)
    if bound and not local:
        raise UserError(
            f"{bound} of the {len(rows)} pairs of split {split!r} may not be passed on (column "
            "redistributable): give --local for a copy that stays with you, or make a split with "
            '--where "redistributable"'
        )
    shards = _shards(data, parts)
    digest = sha256_file(made / RECORD_NAME)
    with _locked(folder):
        _refuse_foreign(folder)
        card = folder / CARD_NAME
        whole = _names(folder) == set(shards) and card.is_file()
        done = whole and card.read_bytes() == _card(digest, parts, bound, folder).encode()
        if not done:
            _write_shards(data, folder, shards, progress)
            write_atomic(card, _card(digest, parts, bound, folder).encode())
    return Summary(
        stage="export",
        total=len(rows),
        counts={part: len(own) for part, own in parts.items()},
        artifact=folder,
        details={"shards": len(shards), "pairs not to be passed on": bound},
        work_done=0 if done else len(rows),
    )


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Make `folder` and hold its kernel lock; UserError when that cannot be."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY)
    except OSError as error:
        raise UserError(
            f"cannot export to {folder} ({error.strerror}): give a folder that is new or empty"
        ) from error
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise LockedError(f"another run is exporting to {folder}: wait for it") from error
    finally:
        os.close(handle)


def _names(folder: Path) -> set[str]:
    """The parquet files of an export, as paths within it."""
    return {f"{SHARDS_NAME}/{path.name}" for path in (folder / SHARDS_NAME).glob("[!.]*.parquet")}


def _refuse_foreign(folder: Path) -> None:
    """UserError when the card or a shard would stand beside or replace what is not ours.

    Beside a card of ours any other file may lie, but none in the folder of the shards.
    """
    card = folder / CARD_NAME
    ours = card.is_file() and b"\nearscribe_export: " in card.read_bytes()
    beside = [] if ours else [path for path in folder.iterdir() if path.name != SHARDS_NAME]
    shards = folder / SHARDS_NAME
    lying = list(shards.iterdir()) if shards.is_dir() else [shards] if shards.exists() else []
    inside = [path for path in lying if not _is_ours(path, ours)]
    if beside or inside:
        raise UserError(
            f"{folder} holds other files, such as {min(beside + inside).relative_to(folder)}: "
            "give a folder that is new or empty"
        )


def _is_ours(path: Path, card: bool) -> bool:
    """Whether an export wrote a file; before its card is there, the shard itself must say so."""
    if path.name.startswith(TEMPORARY_PREFIX):
        return True
    if not path.is_file() or not SHARD.fullmatch(path.name):
        return False
    if card:
        return True
    try:
        return b"earscribe_schema_version" in (pq.read_schema(path).metadata or {})
    except (OSError, pa.ArrowException):
        return False


def _write_shards(
    data: Path, folder: Path, shards: Mapping[str, Sequence[Row]], progress: Progress
) -> None:
    """Write every shard under a temporary name, then put them in the place of the old ones."""
    sweep_temporary(folder / SHARDS_NAME)
    with ExitStack() as whole:
        for done, (name, rows) in enumerate(shards.items(), start=1):
            _write_shard(data, whole.enter_context(atomic_path(folder / name)), rows)
            progress(done, len(shards))
        for name in _names(folder) - set(shards):
            (folder / name).unlink()


# ---------------------------------------------------------------- shards


def _shards(data: Path, parts: Mapping[str, Sequence[Row]]) -> dict[str, list[Row]]:
    """File name within the export -> its rows."""
    shards: dict[str, list[Row]] = {}
    for part, rows in parts.items():
        runs = _runs(data, rows, SHARD_BYTES)
        for number, run in enumerate(runs):
            shards[f"{SHARDS_NAME}/{part}-{number:05d}-of-{len(runs):05d}.parquet"] = run
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

## Files

{shards}

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


def _card(digest: str, parts: Mapping[str, Sequence[Row]], bound: int, folder: Path) -> str:
    """The card of the shards that lie in `folder`."""
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
    shards = [(f"`{name}`", f"`{sha256_file(folder / name)}`") for name in sorted(_names(folder))]
    return CARD.format(
        files="\n".join(files),
        version=EXPORT_VERSION,
        warning=WARNING.format(bound=bound, total=total) if bound else "",
        parts=_table(("part", "pairs"), counts),
        columns=_table(("column", "type", "unit", "meaning"), columns),
        digest=digest,
        shards=_table(("file", "sha256"), shards),
    )


def _value_type(field: "pa.Field[Any]") -> str:
    if field.name == "audio":
        return "audio"
    kind = f"list of {field.type.value_type}" if isinstance(field.type, pa.ListType) else field.type
    return f"{kind}, may be null" if field.nullable else str(kind)


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
