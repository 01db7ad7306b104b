"""The files of a split: what split.json says, its parts, what they share, folds as parts."""

import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from crawler.errors import SchemaVersionError, UserError
from crawler.files import sha256_file
from crawler.ledger import State
from dataset.filters import evaluate
from dataset.groups import COLUMNS, LEAKS, TIES, formulas, shared
from dataset.index import read_in_groups, read_table, row_to_pair
from dataset.pairs import Pair, stable_id

SPLIT_VERSION = 2  # of split.json
SPLITS_NAME = "splits"
RECORD_NAME = "split.json"  # written last: a folder without it is unfinished
TRAIN, VALIDATION, TEST = "train", "validation", "test"
PART_NAMES = {2: (TRAIN, TEST), 3: (TRAIN, VALIDATION, TEST)}  # by the number of fractions
LEFT_TO_THE_INDEX = ("fingerprint",)  # bulky, null in the parts
Record = Mapping[str, Any]


def fold_names(folds: int) -> tuple[str, ...]:
    """The names of so many folds."""
    return tuple(f"fold{number}" for number in range(folds))


# ---------------------------------------------------------------- what is written of a part


def describe(path: Path, chosen: int) -> dict[str, Any]:
    """Counts of a written part, read back from its file; `chosen` rows are in all parts."""
    table = read_table(path, columns=["work_id", "composer"])
    composers = Counter(name.strip() for name in map(str, table["composer"].to_pylist()))
    unnamed = composers.pop("", 0)
    return {
        "file": path.name,
        "sha256": sha256_file(path),
        "rows": table.num_rows,
        "share": round(table.num_rows / max(1, chosen), 6),
        "works": pc.count_distinct(table["work_id"]).as_py(),
        "composers": len(composers),
        **({"without_composer": unnamed} if unnamed else {}),
    }


def leaks_of(folder: Path, parts: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Rows of each evaluation part whose composer, work, source, clip or text is in training.

    part -> kind -> {"rows": how many, "share": of the part, 0..1}, from the files in `folder`.
    Training is `train` or, for a fold, all the others.
    """
    tables = {part: read_in_groups(folder / f"{part}.parquet", COLUMNS) for part in parts}
    found = {part: evaluate(groups, formulas(LEAKS)) for part, groups in tables.items()}
    sizes = [len(found[part]["work"]) for part in parts]
    number = np.repeat(np.arange(len(parts)), sizes)
    keys = {kind: np.concatenate([found[part][kind] for part in parts]) for kind in LEAKS}
    train = number == parts.index(TRAIN) if TRAIN in parts else None
    return {
        part: shared(keys, number != place if train is None else train, number == place)
        for place, part in enumerate(parts)
        if part != TRAIN
    }


# ---------------------------------------------------------------- split.json


PART = {"file": str, "sha256": str, "rows": int, "share": float, "works": int, "composers": int}
DEFINITION = {"name": str, "fractions": list, "group": str, "method": str, "seed": int}
RECORD = {
    "earscribe_split": int, "index_sha256": str, "rows": int, "definition": dict,
    "left_out": dict, "groups": dict, "parts": dict, "leaks": dict,
}  # fmt: skip


def read_record(folder: Path) -> dict[str, Any] | None:
    """split.json, or None when the split is unfinished, damaged or of another version."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return record if _has(record, RECORD) and _is_consistent(record) else None


def is_whole(folder: Path, record: Record) -> bool:
    """Whether the parts are there as they were written."""
    files = [(folder / part["file"], part["sha256"]) for part in record["parts"].values()]
    return all(path.is_file() and sha256_file(path) == digest for path, digest in files)


def _has(value: Any, kinds: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), kind) for key, kind in kinds.items()
    )


def _is_consistent(record: Record) -> bool:
    """Whether everything that is read from split.json stands in it."""
    definition = record["definition"]
    if record["earscribe_split"] != SPLIT_VERSION or not _has(definition, DEFINITION):
        return False
    folds = definition.get("folds")
    names = fold_names(folds) if isinstance(folds, int) else _parts(definition["fractions"])
    leaks = [record["leaks"].get(name, {}) for name in names if name != TRAIN]
    return (
        definition["group"] in TIES
        and isinstance(definition.get("where", 0), str | None)
        and all(isinstance(fraction, float) for fraction in definition["fractions"])
        and tuple(record["parts"]) == names
        and all(_has(part, PART) for part in record["parts"].values())
        and all(part["file"] == f"{name}.parquet" for name, part in record["parts"].items())
        and all(isinstance(count, int) for count in record["left_out"].values())
        and all(tuple(found) == LEAKS for found in leaks)
        and all(_has(kind, {"share": float}) for found in leaks for kind in found.values())
    )


def _parts(fractions: Sequence[float]) -> tuple[str, ...]:
    return PART_NAMES.get(len(fractions), ())


# ---------------------------------------------------------------- reading


def split_names(data: Path) -> list[str]:
    """Names of the finished splits of a data folder, sorted."""
    return sorted(path.parent.name for path in (data / SPLITS_NAME).glob(f"*/{RECORD_NAME}"))


def folder_of(data: Path, name: str) -> Path:
    """Where the split of a name lies; the folds of NAME:NUMBER are those of NAME."""
    return data / SPLITS_NAME / name.partition(":")[0]


def read_split(data: Path, name: str) -> dict[str, Any]:
    """split.json of a finished split; UserError that lists the existing ones.

    NAME:NUMBER is a split of folds as parts: that fold is `test`, the next one `validation`, all
    others are `train`.
    """
    own, _, number = name.partition(":")
    folder = folder_of(data, name)
    record = read_record(folder) if own in split_names(data) else None
    if record is not None:
        return _with_fold(record, name, number) if ":" in name else record
    if own in split_names(data):
        raise SchemaVersionError(
            f"{folder / RECORD_NAME} is damaged or of another version: run `earscribe split` again"
        )
    known = ", ".join(split_names(data)) or "none yet"
    raise UserError(f"no split {own!r} in {data} (there is: {known}): run `earscribe split` first")


def _with_fold(record: dict[str, Any], name: str, number: str) -> dict[str, Any]:
    """The record with the parts that one fold and the others make."""
    folds = record["definition"].get("folds") or 0
    if number not in map(str, range(folds)):
        own = name.partition(":")[0]
        allowed = f"{own}:0 to {own}:{folds - 1}" if folds else f"{own} alone, it has no folds"
        raise UserError(f"no split {name!r}: give {allowed}")
    turned = [record["parts"][f"fold{(int(number) + n) % folds}"] for n in range(folds)]
    held = {TEST: turned[:1], VALIDATION: turned[1:2] if folds > 2 else []}
    parts = {TRAIN: turned[1 + len(held[VALIDATION]) :], VALIDATION: held[VALIDATION]}
    parts = {**parts, TEST: held[TEST]}
    return {**record, "parts": {part: _joined(own) for part, own in parts.items() if own}}


def _joined(parts: Sequence[Record]) -> dict[str, Any]:
    """What is said of several files as one part."""
    return {
        "files": list(parts),
        "sha256": stable_id(*(part["sha256"] for part in parts)),
        "rows": sum(part["rows"] for part in parts),
        "share": round(sum(part["share"] for part in parts), 6),
    }


def load_split(data: Path, name: str, part: str) -> list[Pair]:
    """The pairs of one part ("train", "validation", "test") of a split, sorted by pair_id.

    `name` may be NAME:NUMBER, see `read_split`.
    """
    record = read_split(data, name)
    if part not in record["parts"]:
        given = ", ".join(record["parts"])
        folds = f", or a fold as the split {name}:0" if record["definition"].get("folds") else ""
        raise UserError(f"split {name!r} has no part {part!r}: give one of {given}{folds}")
    pairs = [row_to_pair(row) for row in read_part(folder_of(data, name), record, part).to_pylist()]
    if any(pair.status != State.OK for pair in pairs):
        raise UserError(
            f"split {name!r} was made with pending pairs: run `earscribe fetch`, then "
            "`earscribe split` without --pending"
        )
    return pairs


def read_part(
    folder: Path, record: Record, part: str, columns: Iterable[str] | None = None
) -> pa.Table:
    """A part of the split in `folder`, sorted by pair_id.

    UserError unless its files are those that were written.
    """
    described = record["parts"][part]
    tables = []
    for own in described.get("files", [described]):
        path = folder / own["file"]
        if not path.is_file() or sha256_file(path) != own["sha256"]:
            raise UserError(
                f"{path} is missing or not what {RECORD_NAME} says (sha256): "
                "run `earscribe split` again"
            )
        tables.append(read_table(path, columns=columns))
    if len(tables) == 1:
        return tables[0]
    return pa.concat_tables(tables).sort_by("pair_id")
