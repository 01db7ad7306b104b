"""What a split promises, checked in its files and against the index."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import numpy as np

from crawler.errors import SchemaVersionError, UserError
from crawler.files import sha256_file
from crawler.ledger import State
from dataset.filters import evaluate
from dataset.findings import SEEN, Finding, Row
from dataset.groups import COLUMNS as KEY_COLUMNS
from dataset.groups import TIES, formulas
from dataset.index import read_in_groups, read_table
from dataset.parts import SPLITS_NAME, describe, leaks_of, read_split


@dataclass(frozen=True, slots=True)
class Index:
    """What the splits are compared with."""

    sha256: str
    rows: Mapping[str, Row]  # by pair_id
    num_rows: int


def check_split(data: Path, folder: Path, index: Index) -> Iterator[Finding]:
    """What is wrong with a split: its record, its files, what they share, where they are from."""
    name = f"{SPLITS_NAME}/{folder.name}"
    try:
        record = read_split(data, folder.name)
    except SchemaVersionError as error:
        yield Finding("split_record", name, str(error))
        return
    except UserError:
        yield Finding("unfinished_split", name, "it has no split.json: run `earscribe split`")
        return
    parts: dict[str, list[Row]] = {}
    for part, described in record["parts"].items():
        found = _read_part(folder / described["file"], described["sha256"], name)
        if isinstance(found, Finding):
            yield found
        else:
            parts[part] = found
    if record["definition"]["method"] != "released":  # which leaks, and is kept to show that
        yield from _check_crossings(folder, name, parts, TIES[record["definition"]["group"]])
    rows = [row for own in parts.values() for row in own]
    allowed = (State.OK, State.PENDING) if record["definition"].get("pending") else (State.OK,)
    if any(row["status"] not in allowed for row in rows):
        yield Finding("split_status", name, "it holds pairs that are not ok")
    if len({row["pair_id"] for row in rows}) < len(rows):
        yield Finding("split_duplicate", name, "a pair stands in it twice")
    if len(parts) == len(record["parts"]):
        yield from _check_counts(folder, name, record)
    yield from _check_origin(name, record, rows, index)


def _read_part(path: Path, sha256: str, name: str) -> list[Row] | Finding:
    """The rows of a part, or what is wrong with its file."""
    if not path.is_file():
        return Finding("missing_part", name, f"{path.name} is missing: run `earscribe split`")
    if sha256_file(path) != sha256:
        message = f"{path.name} is not what split.json says (sha256): run `earscribe split`"
        return Finding("altered_part", name, message)
    try:
        return list(read_table(path, SEEN).to_pylist())
    except UserError as error:
        return Finding("altered_part", name, str(error))


def _check_counts(folder: Path, name: str, record: Row) -> Iterator[Finding]:
    """What split.json says of the parts, counted anew in their files."""
    rows = sum(described["rows"] for described in record["parts"].values())
    for part, described in record["parts"].items():
        if describe(folder / described["file"], rows) != described:
            yield Finding("split_counts", name, f"split.json is wrong about {part}")
    if leaks_of(folder, tuple(record["parts"])) != record["leaks"]:
        yield Finding("split_leaks", name, "split.json is wrong about what the parts share")
    if rows + sum(record["left_out"].values()) != record["rows"]:
        yield Finding("split_counts", name, "rows in parts and left out do not add up")


def _check_origin(name: str, record: Row, rows: Iterable[Row], index: Index) -> Iterator[Finding]:
    """Whether the rows are those of the index, if it is still the one they were taken from."""
    if record["index_sha256"] != index.sha256:
        yield Finding("stale_split", name, "made from another index: run `earscribe split`")
        return
    if record["rows"] != index.num_rows:
        yield Finding("split_counts", name, f"the index has {index.num_rows} rows")
    # repr: a NaN equals itself
    other = [r["pair_id"] for r in rows if repr(r) != repr(index.rows.get(r["pair_id"]))]
    if other:
        message = f"{len(other)} rows are not those of the index, such as {other[0]}"
        yield Finding("split_rows", name, message)


def _check_crossings(
    folder: Path, name: str, parts: Mapping[str, list[Row]], ties: Iterable[str]
) -> Iterator[Finding]:
    files = {part: read_in_groups(folder / f"{part}.parquet", KEY_COLUMNS) for part in parts}
    keys = {part: evaluate(tables, formulas(ties)) for part, tables in files.items()}
    for kind in ties:
        for one, other in combinations(parts, 2):
            values = np.unique(keys[one][kind][keys[one][kind] != 0])
            crossing = np.isin(keys[other][kind], values)
            if crossing.any():
                example = parts[other][int(np.argmax(crossing))]
                message = (
                    f"{one} and {other} share {len(np.unique(keys[other][kind][crossing]))} by "
                    f"{kind}, such as that of {example['pair_id']} ({example['work_id']})"
                )
                yield Finding("leak", name, message)
