"""Parts for training and evaluation that share no composer, work, source or clip."""

import dataclasses
import heapq
import json
import logging
import math
import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pyarrow as pa

from crawler.errors import SchemaVersionError, UserError
from crawler.files import sha256_file, sweep_temporary, write_atomic
from crawler.ledger import State, folder_lock
from crawler.summary import Progress, Summary, silent
from dataset.filters import filter_table
from dataset.index import PAIRS_NAME, read_table, row_to_pair, write_table
from dataset.pairs import Pair, stable_id

logger = logging.getLogger(__name__)

SPLIT_VERSION = 1  # of split.json
SPLITS_NAME = "splits"
RECORD_NAME = "split.json"  # written last: a folder without it is unfinished
PART_NAMES = {2: ("train", "test"), 3: ("train", "validation", "test")}
TIES = {  # what holds rows together; a coarser group holds all that a finer one does
    "composer": ("composer", "work", "source", "clip"),
    "work": ("work", "source", "clip"),
    "recording": ("recording", "source", "clip"),
}
LEAKS = ("composer", "work", "source", "clip", "caption")
SEARCH_STATES = 60_000  # kept in all: under a second


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """How the ok pairs are dealt out."""

    name: str = "default"
    where: str | None = None  # SQL predicate over the columns, see dataset/filters.py
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)  # train, (validation,) test
    group: Literal["composer", "work", "recording"] = "composer"
    seed: int = 0
    method: Literal["exact"] = "exact"  # row counts as near to the fractions as groups allow

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]{0,99}", self.name, re.ASCII):
            raise UserError(
                f"split.name {self.name!r} is not allowed: give letters, digits, '_', '.' and '-', "
                "100 at most"
            )
        if self.group not in TIES:
            raise UserError(f"split.group {self.group!r} is not allowed: give {', '.join(TIES)}")
        positive = all(fraction > 0 for fraction in self.fractions)
        whole = math.isclose(sum(self.fractions), 1.0, abs_tol=1e-6)
        if len(self.fractions) not in PART_NAMES or not positive or not whole:
            raise UserError(
                f"split.fractions {self.fractions} are not allowed: give two (train, test) or "
                "three (train, validation, test) above 0 that add up to 1"
            )

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, in the order of the fractions."""
        return PART_NAMES[len(self.fractions)]


def split(data: Path, config: SplitConfig, progress: Progress = silent) -> Summary:
    """Deal the ok pairs of the index out and write splits/<name>/.

    The same index and the same definition give the same bytes; a split that is there already is
    left alone. UserError when a part would be empty.
    """
    with folder_lock(data):
        head = _head(data, config)
        folder = data / SPLITS_NAME / config.name
        found = _read_record(folder)
        if found is not None and found | head == found and _is_whole(folder, found):
            return _summary(folder, found, work_done=0)
        record = _make(data, folder, config, head, progress)
    return _summary(folder, record, work_done=1)


def _head(data: Path, config: SplitConfig) -> dict[str, Any]:
    """What a split depends on."""
    read_table(data / PAIRS_NAME, columns=[])  # refuses an index that cannot be read
    return {
        "earscribe_split": SPLIT_VERSION,
        "definition": dataclasses.asdict(config) | {"fractions": list(config.fractions)},
        "index_sha256": sha256_file(data / PAIRS_NAME),
    }


def _make(
    data: Path, folder: Path, config: SplitConfig, head: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    table = read_table(data / PAIRS_NAME)
    chosen, left_out = _choose(table, config, data)
    parts = _deal(chosen, config)
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporary(folder)
    (folder / RECORD_NAME).unlink(missing_ok=True)
    for done, (name, rows) in enumerate(parts.items(), start=1):
        write_table(folder / f"{name}.parquet", rows)
        logger.info("%s: %d pairs", name, rows.num_rows)
        progress(done, len(parts))
    record = head | {
        "rows": table.num_rows,
        "left_out": left_out,
        "parts": {name: describe(folder / f"{name}.parquet", chosen.num_rows) for name in parts},
        "leaks": leaks_of(folder, config.parts),
    }
    write_atomic(folder / RECORD_NAME, (json.dumps(record, indent=2) + "\n").encode())
    return record


def _choose(table: pa.Table, config: SplitConfig, data: Path) -> tuple[pa.Table, dict[str, int]]:
    """The rows to deal out, and how many are left out by reason."""
    states = Counter(map(str, table.column("status").to_pylist()))
    ok = filter_table(table, f"status = '{State.OK}'")
    chosen = ok if config.where is None else filter_table(ok, config.where)
    if chosen.num_rows == 0:
        counted = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        reason = "run `earscribe fetch`" if config.where is None else f"change {config.where!r}"
        raise UserError(f"no pair to split in {data} ({counted or 'no row at all'}): {reason}")
    left_out = {state: count for state, count in sorted(states.items()) if state != State.OK}
    if config.where is not None:
        left_out["where"] = ok.num_rows - chosen.num_rows
    return chosen, left_out


# ---------------------------------------------------------------- groups and their parts


def group_keys(row: Mapping[str, Any]) -> dict[str, str | None]:
    """What a row may share with another one: kind -> value."""
    return {
        "composer": _plain(row["composer"]) or None,  # tables need not name one
        "work": row["work_id"],
        "recording": row["recording_id"],
        "source": row["youtube_id"] or row["source_url"],
        "clip": row["duplicate_of"] or row["clip_id"],
        "caption": " ".join(row["caption"].casefold().split()),
    }


def _plain(name: str) -> str:
    """A name without case and accents: pages do not agree on them."""
    letters = unicodedata.normalize("NFKD", name.casefold())
    return " ".join("".join(c for c in letters if not unicodedata.combining(c)).split())


def group_rows(rows: Sequence[Mapping[str, Any]], ties: Sequence[str]) -> list[list[int]]:
    """Positions of the rows that hang together by any of the ties, directly or through others."""
    parent = list(range(len(rows)))

    def root(position: int) -> int:
        while parent[position] != position:
            parent[position] = parent[parent[position]]
            position = parent[position]
        return position

    first: dict[tuple[str, str], int] = {}
    for position, row in enumerate(rows):
        keys = group_keys(row)
        for tie in ties:
            value = keys[tie]
            if value is not None:
                parent[root(position)] = root(first.setdefault((tie, value), position))
    groups: dict[int, list[int]] = {}
    for position in range(len(rows)):
        groups.setdefault(root(position), []).append(position)
    return list(groups.values())


def _deal(table: pa.Table, config: SplitConfig) -> dict[str, pa.Table]:
    rows = table.to_pylist()
    groups = group_rows(rows, TIES[config.group])
    # Largest first for the search; the seed decides among groups of one size.
    groups.sort(key=lambda group: (-len(group), stable_id(config.seed, rows[group[0]]["pair_id"])))
    chosen = assign([len(group) for group in groups], config.fractions, config.seed)
    if chosen is None:
        raise UserError(
            f"the {len(rows)} ok pairs fall into {len(groups)} groups by {config.group}, too few "
            f"for {len(config.parts)} parts ({', '.join(config.parts)}): give two fractions, "
            "another group (work, recording), a wider `where` or more data"
        )
    members: list[list[int]] = [[] for _ in config.parts]
    for group, part in zip(groups, chosen, strict=True):
        members[part].extend(group)
    return {
        name: table.take(sorted(positions))
        for name, positions in zip(config.parts, members, strict=True)
    }


def assign(sizes: Sequence[int], fractions: Sequence[float], seed: int) -> list[int] | None:
    """The part of each group, so that row counts lie as near to the fractions as can be.

    Smallest sum of |rows - fraction * all rows| with no part empty; None when there are fewer
    groups than parts. Walks through the reachable row counts group by group: exact as long as
    they fit into SEARCH_STATES, else the most promising ones are kept. Give large groups first.
    """
    total, done = sum(sizes), 0
    states: list[tuple[int, ...]] = [(0,) * len(fractions)]
    history: list[dict[tuple[int, ...], tuple[tuple[int, ...], int]]] = []
    for index, size in enumerate(sizes):
        turn = int(stable_id(seed, index), 16)  # which of several ways to the same counts is kept
        reached: dict[tuple[int, ...], tuple[tuple[int, ...], int]] = {}
        for counts in states:
            for step in range(len(fractions)):
                part = (turn + step) % len(fractions)
                after = (*counts[:part], counts[part] + size, *counts[part + 1 :])
                reached.setdefault(after, (counts, part))
        done += size
        history.append(reached)
        width = max(100, SEARCH_STATES // len(sizes))
        states = _promising(reached, fractions, total, done, width)
    filled = [counts for counts in states if all(counts)]
    if not filled:
        return None
    return _way_to(min(filled, key=lambda counts: _distance(counts, fractions, total)), history)


def _promising(
    reached: Mapping[tuple[int, ...], Any],
    fractions: Sequence[float],
    total: int,
    done: int,
    width: int,
) -> list[tuple[int, ...]]:
    """At most `width` counts: those that overshoot least, then those that fill parts evenly."""
    if len(reached) <= width:
        return list(reached)

    def promise(counts: tuple[int, ...]) -> tuple[float, float]:
        over = sum(
            max(0.0, count - part * total) for count, part in zip(counts, fractions, strict=True)
        )
        return round(over, 6), _distance(counts, fractions, done)

    return heapq.nsmallest(width, reached, key=promise)


def _distance(counts: Sequence[int], fractions: Sequence[float], total: int) -> float:
    pairs = zip(counts, fractions, strict=True)
    return round(sum(abs(count - part * total) for count, part in pairs), 6)


def _way_to(
    counts: tuple[int, ...],
    history: Sequence[Mapping[tuple[int, ...], tuple[tuple[int, ...], int]]],
) -> list[int]:
    parts = []
    for reached in reversed(history):
        counts, part = reached[counts]
        parts.append(part)
    return parts[::-1]


# ---------------------------------------------------------------- what was written


def describe(path: Path, chosen: int) -> dict[str, Any]:
    """Counts of a written part, read back from its file; `chosen` rows are in all parts."""
    table = read_table(path, columns=["work_id", "composer"])
    named = [name for name in table.column("composer").to_pylist() if name and name.strip()]
    unnamed = table.num_rows - len(named)
    return {
        "file": path.name,
        "sha256": sha256_file(path),
        "rows": table.num_rows,
        "share": round(table.num_rows / max(1, chosen), 6),
        "works": len(table.column("work_id").unique()),
        "composers": len(set(named)),
        **({"without_composer": unnamed} if unnamed else {}),
    }


def leaks_of(folder: Path, parts: Sequence[str]) -> dict[str, dict[str, dict[str, float]]]:
    """Rows of each evaluation part whose composer, work, source, clip or caption is in train.

    part -> kind -> {"rows": how many, "share": of the part, 0..1}, from the files in `folder`.
    """
    keys = {
        part: [group_keys(row) for row in read_table(folder / f"{part}.parquet").to_pylist()]
        for part in parts
    }
    seen = {kind: {row[kind] for row in keys["train"]} - {None} for kind in LEAKS}
    report: dict[str, dict[str, dict[str, float]]] = {}
    for part in parts[1:]:
        shared = {kind: sum(row[kind] in seen[kind] for row in keys[part]) for kind in LEAKS}
        report[part] = {
            kind: {"rows": rows, "share": round(rows / max(1, len(keys[part])), 6)}
            for kind, rows in shared.items()
        }
    return report


def _is_whole(folder: Path, record: Mapping[str, Any]) -> bool:
    files = [(folder / part["file"], part["sha256"]) for part in record["parts"].values()]
    return all(path.is_file() and sha256_file(path) == digest for path, digest in files)


def _read_record(folder: Path) -> dict[str, Any] | None:
    """split.json, or None when the split is unfinished or of another version."""
    path = folder / RECORD_NAME
    if not path.is_file():
        return None
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    return record if _has(record, RECORD) and _is_consistent(record) else None


SHOWN = ("rows", "share", "works", "composers", "without_composer")  # of a part, in the summary
PART = {"file": str, "sha256": str, "rows": int, "share": float, "works": int, "composers": int}
DEFINITION = {"name": str, "fractions": list, "group": str, "seed": int}
RECORD = {
    "earscribe_split": int, "index_sha256": str, "rows": int,
    "definition": dict, "left_out": dict, "parts": dict, "leaks": dict,
}  # fmt: skip


def _has(value: Any, kinds: Mapping[str, type]) -> bool:
    return isinstance(value, dict) and all(
        isinstance(value.get(key), kind) for key, kind in kinds.items()
    )


def _is_consistent(record: Mapping[str, Any]) -> bool:
    """Whether everything that is read from split.json stands in it."""
    definition = record["definition"]
    if record["earscribe_split"] != SPLIT_VERSION or not _has(definition, DEFINITION):
        return False
    names = PART_NAMES.get(len(definition["fractions"]), ())
    leaks = [record["leaks"].get(name, {}) for name in names[1:]]
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


def _summary(folder: Path, record: Mapping[str, Any], *, work_done: int) -> Summary:
    left_out = {f"left out: {why}": count for why, count in record["left_out"].items() if count}
    return Summary(
        stage="split",
        total=record["rows"],
        counts={name: part["rows"] for name, part in record["parts"].items()} | left_out,
        artifact=folder,
        details={
            "parts": [
                {"part": name} | {key: part[key] for key in SHOWN if key in part}
                for name, part in record["parts"].items()
            ],
            "share of rows whose ... is in train": [
                {"part": part} | {kind: found["share"] for kind, found in kinds.items()}
                for part, kinds in record["leaks"].items()
            ],
        },
        work_done=work_done,
    )


def split_names(data: Path) -> list[str]:
    """Names of the finished splits of a data folder, sorted."""
    return sorted(path.parent.name for path in (data / SPLITS_NAME).glob(f"*/{RECORD_NAME}"))


def read_split(data: Path, name: str) -> dict[str, Any]:
    """split.json of a finished split; UserError that lists the existing ones."""
    folder = data / SPLITS_NAME / name
    record = _read_record(folder) if name in split_names(data) else None
    if record is not None:
        return record
    if name in split_names(data):
        raise SchemaVersionError(
            f"{folder / RECORD_NAME} is damaged or of another version: run `earscribe split` again"
        )
    known = ", ".join(split_names(data)) or "none yet"
    raise UserError(f"no split {name!r} in {data} (there is: {known}): run `earscribe split` first")


def load_split(data: Path, name: str, part: str) -> list[Pair]:
    """The pairs of one part ("train", "validation", "test") of a split, sorted by pair_id."""
    record = read_split(data, name)
    if part not in record["parts"]:
        raise UserError(
            f"split {name!r} has no part {part!r}: give one of {', '.join(record['parts'])}"
        )
    return [
        row_to_pair(row) for row in read_part(data / SPLITS_NAME / name, record, part).to_pylist()
    ]


def read_part(folder: Path, record: Mapping[str, Any], part: str) -> pa.Table:
    """A part of the split in `folder`; UserError unless its file is the one that was written."""
    described = record["parts"][part]
    path = folder / described["file"]
    if not path.is_file() or sha256_file(path) != described["sha256"]:
        raise UserError(
            f"{path} is missing or not what {RECORD_NAME} says (sha256): "
            "run `earscribe split` again"
        )
    return read_table(path)
