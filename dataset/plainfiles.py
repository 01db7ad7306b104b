"""Plain files: every clip beside tables of what is known of it, in CSV, JSON lines and parquet."""

import csv
import json
import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from dataset.contents import Contents, Row, clip_of, read_parts, sound_of
from dataset.places import Writer
from dataset.schema import PAIRS_SCHEMA

FILE_NAME = "file_name"  # the column by which loaders find the sound
FORMULA = tuple("=+-@\t\r\n＝＋－＠")  # what a spreadsheet takes for one, at a cell's beginning


def files_schema() -> pa.Schema:
    """The index's columns with the clip's file name in place of the sound."""
    name = pa.field(
        FILE_NAME,
        pa.string(),
        nullable=False,
        metadata={"unit": "", "meaning": "the clip's file, beside the table"},
    )
    own = [field for field in PAIRS_SCHEMA if field.name != "audio"]
    return pa.schema([name, *own]).with_metadata(PAIRS_SCHEMA.metadata or {})


def files_contents(data: Path, split: str, local: bool) -> Contents:
    """A split with its clips as plain files, a folder a part."""
    parts, digest = read_parts(data, split, local)
    files: dict[str, Writer] = {}
    for part, rows in parts.items():
        names = [clip_of(data, row).name for row in rows]
        files |= {
            f"{part}/{name}": partial(_copy, data, row)
            for name, row in zip(names, rows, strict=True)
        }
        table = [{FILE_NAME: name, **row} for name, row in zip(names, rows, strict=True)]
        files |= {f"{part}/metadata{end}": partial(write, table) for end, write in TABLES.items()}
    endings = sorted({Path(name).suffix for name in files} - set(TABLES))
    return Contents(
        form="files",
        made_from=digest,
        source=f"the split {split}, whose split.json",
        schema=files_schema(),
        parts=parts,
        patterns={
            part: [f"{part}/metadata.parquet", *(f"{part}/*{end}" for end in endings)]
            for part in parts
        },
        files=files,
        counts={part: len(rows) for part, rows in parts.items()},
        details={"clips": len(files) - len(TABLES) * len(parts)},
    )


def _copy(data: Path, row: Row, path: Path) -> None:
    path.write_bytes(sound_of(data, row))


# ---------------------------------------------------------------- the tables


def _write_parquet(rows: Sequence[Row], path: Path) -> None:
    table = pa.Table.from_pylist(list(map(dict, rows)), schema=files_schema())
    pq.write_table(table, path, compression="zstd")


def _write_jsonl(rows: Sequence[Row], path: Path) -> None:
    with path.open("w", encoding="utf-8", newline="\n") as lines:
        for row in rows:
            values = {name: _in_json(row[name]) for name in files_schema().names}
            lines.write(json.dumps(values, ensure_ascii=False, allow_nan=False) + "\n")


def _in_json(value: Any) -> Any:
    """The value; null for a number that JSON does not know."""
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _write_csv(rows: Sequence[Row], path: Path) -> None:
    names = files_schema().names
    with path.open("w", encoding="utf-8", newline="") as lines:
        writer = csv.writer(lines, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")
        writer.writerow(names)
        writer.writerows([in_csv(row[name]) for name in names] for row in rows)


def in_csv(value: Any) -> Any:
    """A cell's value: a text that no spreadsheet takes for a formula, a list as JSON."""
    if isinstance(value, list):
        value = json.dumps(value, ensure_ascii=False)
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str):
        return value
    text = value.replace("\0", "\ufffd")  # no reader of CSV is sure of NUL
    return f"'{text}" if text.startswith(FORMULA) else text


TABLES: Mapping[str, Any] = {
    ".csv": _write_csv,
    ".jsonl": _write_jsonl,
    ".parquet": _write_parquet,
}
