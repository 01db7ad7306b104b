"""The stage: groups of pairs that no split crosses, dealt out to parts or folds."""

import csv
import dataclasses
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from crawler.errors import UserError
from crawler.files import sha256_file, sweep_temporary, write_atomic
from crawler.ledger import State, folder_lock
from crawler.options import read_toml
from crawler.released import ORDER_NAME, text_key
from crawler.summary import Progress, Summary, silent
from dataset.dealing import METHODS
from dataset.filters import Predicate, evaluate, read_predicate, refused, verdict
from dataset.groups import COLUMNS, KEYS, TIES, Codes, Hashes, components, formulas
from dataset.index import PAIRS_NAME, read_in_groups, read_table, write_selections
from dataset.parts import (
    LEFT_TO_THE_INDEX,
    PART_NAMES,
    RECORD_NAME,
    SPLIT_VERSION,
    SPLITS_NAME,
    describe,
    fold_names,
    is_whole,
    leaks_of,
    read_record,
)
from dataset.schema import PAIRS_SCHEMA

logger = logging.getLogger(__name__)

PRESETS = Path(__file__).with_name("presets.toml")
STATES = tuple(State)
STUDY_FOLDS = 5
SHOWN_GROUPS = 20  # that moved
COLUMNS_OF_NAMES = ("composer", "work_id", "recording_id")
Parts = NDArray[np.int8]  # the part of each row, -1 = none


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitConfig:
    """Which ok pairs are dealt out, and how."""

    name: str = "default"
    preset: str | None = None  # a named predicate of `presets`
    where: str | None = None  # SQL predicate over the columns, see dataset/filters.py
    fractions: tuple[float, ...] = (0.8, 0.1, 0.1)  # train, (validation,) test
    folds: int | None = None  # equal parts instead of the fractions
    group: Literal["composer", "work", "recording"] = "composer"  # what no part shares
    method: Literal["exact", "stable", "released"] = "exact"
    seed: int = 0
    pending: bool = False  # also pairs whose clip is not there yet: to look at, not to learn from
    presets: Path | None = None  # TOML file instead of dataset/presets.toml

    def __post_init__(self) -> None:
        if not re.fullmatch(r"\w[\w.-]{0,99}", self.name, re.ASCII):
            raise UserError(
                f"split.name {self.name!r} is not allowed: give letters, digits, '_', '.' and '-', "
                "100 at most"
            )
        if self.group not in TIES:
            raise UserError(f"split.group {self.group!r} is not allowed: give {', '.join(TIES)}")
        if self.folds is not None and not 2 <= self.folds <= 100:
            raise UserError(f"split.folds {self.folds} is not allowed: give 2 to 100")
        positive = all(fraction > 0 for fraction in self.fractions)
        whole = math.isclose(sum(self.fractions), 1.0, abs_tol=1e-6)
        if len(self.fractions) not in PART_NAMES or not positive or not whole:
            raise UserError(
                f"split.fractions {self.fractions} are not allowed: give two (train, test) or "
                "three (train, validation, test) above 0 that add up to 1"
            )
        if self.method == "released" and self.folds is None:
            raise UserError("split.method 'released' makes folds: give how many (the study: 5)")

    @property
    def parts(self) -> tuple[str, ...]:
        """Names of the parts, in the order of the shares."""
        return PART_NAMES[len(self.fractions)] if self.folds is None else fold_names(self.folds)

    @property
    def shares(self) -> tuple[float, ...]:
        """What each part is to have of the rows."""
        return self.fractions if self.folds is None else (1 / self.folds,) * self.folds

    @property
    def predicate(self) -> str | None:
        """The preset and `where` as one condition; None = every ok pair."""
        told = [self.where] if self.where is not None else []
        if self.preset is not None:
            told.insert(0, read_preset(self.presets or PRESETS, self.preset))
        return " AND ".join(f"({one})" if len(told) > 1 else one for one in told) or None


def read_preset(path: Path, name: str) -> str:
    """The predicate of a named preset; UserError that lists the known ones."""
    presets = read_toml(path)
    if name not in presets:
        raise UserError(f"no preset {name!r} in {path.name}: give one of {', '.join(presets)}")
    where = presets[name].get("where") if isinstance(presets[name], dict) else None
    if not isinstance(where, str):
        raise UserError(f'preset {name!r} in {path.name} has no predicate: give where = "..."')
    return " ".join(where.split())


def split(data: Path, config: SplitConfig, progress: Progress = silent) -> Summary:
    """Deal the ok pairs of the index out and write splits/<name>/.

    The same index and the same definition give the same bytes; a split that is there already is
    left alone. UserError when a part would be empty.
    """
    with folder_lock(data):
        head = _head(data, config)
        folder = data / SPLITS_NAME / config.name
        found = read_record(folder)
        if found is not None and found | head == found and is_whole(folder, found):
            return _summary(folder, found, work_done=0)
        before = _parts_before(folder, found, head)
        record = _make(data, folder, config, head, progress)
        moved = _moved(before, folder, record)
    return _summary(folder, record, work_done=1, moved=moved)


def _head(data: Path, config: SplitConfig) -> dict[str, Any]:
    """What a split depends on."""
    read_table(data / PAIRS_NAME, columns=[])  # refuses an index that cannot be read
    made = dataclasses.asdict(config) | {"fractions": list(config.fractions)}
    return {
        "earscribe_split": SPLIT_VERSION,
        "definition": made | {"presets": None if config.presets is None else str(config.presets)},
        "predicate": config.predicate,
        "index_sha256": sha256_file(data / PAIRS_NAME),
    }


def _make(
    data: Path, folder: Path, config: SplitConfig, head: dict[str, Any], progress: Progress
) -> dict[str, Any]:
    index = data / PAIRS_NAME
    told = config.predicate
    predicate = read_predicate(told, PAIRS_SCHEMA) if told is not None else None
    rows = _evaluated(index, config, predicate)
    states = (State.OK, State.PENDING) if config.pending else (State.OK,)
    chosen, left_out = _choose(rows, states, predicate, data)
    keys = {kind: rows[kind][chosen] for kind in TIES[config.group]}
    group = components(list(keys.values()), int(chosen.sum()))
    parts: Parts = np.full(len(chosen), -1, dtype=np.int8)
    parts[chosen] = _deal(data, config, chosen, keys, group)
    folder.mkdir(parents=True, exist_ok=True)
    sweep_temporary(folder)
    (folder / RECORD_NAME).unlink(missing_ok=True)
    paths = [folder / f"{name}.parquet" for name in config.parts]
    for other in set(folder.glob("*.parquet")).difference(paths):  # of another definition
        other.unlink()
    write_selections(index, parts, paths, LEFT_TO_THE_INDEX, progress)
    sizes, grouped = np.bincount(group), config.method != "released"
    record = head | {
        "rows": len(chosen),
        "left_out": left_out,
        "groups": {"number": len(sizes), "largest": int(sizes.max())} if grouped else {},
        "parts": {name: describe(folder / f"{name}.parquet", len(group)) for name in config.parts},
        "leaks": leaks_of(folder, config.parts),
    }
    write_atomic(folder / RECORD_NAME, (json.dumps(record, indent=2) + "\n").encode())
    return record


# ---------------------------------------------------------------- which rows


def _evaluated(
    index: Path, config: SplitConfig, predicate: Predicate | None
) -> dict[str, NDArray[Any]]:
    """State, excluding term and hashes of every row of the index, in one pass over it."""
    states = ", ".join(f"'{state}'" for state in STATES)
    asked = {
        "state": f"coalesce(list_position([{states}], status), 0)::TINYINT - 1",
        "term": "0" if predicate is None else verdict(predicate),
        **formulas(TIES[config.group]),
    }
    columns = {"status", *COLUMNS} - {"caption"} | set(predicate.columns if predicate else ())
    with refused(config.predicate or ""):
        return evaluate(read_in_groups(index, sorted(columns)), asked)


def _choose(
    rows: Mapping[str, NDArray[Any]],
    states: Sequence[State],
    predicate: Predicate | None,
    data: Path,
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which rows are dealt out, and how many are left out by reason."""
    terms = predicate.terms if predicate else ()
    ok = np.isin(rows["state"], [STATES.index(state) for state in states])
    chosen: NDArray[np.bool_] = ok & (rows["term"] == len(terms))
    left_out: Counter[str] = Counter()
    for number in np.unique(rows["state"][~ok]).tolist():
        state = str(STATES[number]) if number >= 0 else "no state"
        left_out[state] = int((rows["state"] == number).sum())
    for number, term in enumerate(terms):
        left_out[f"where: {term}"] += int((ok & (rows["term"] == number)).sum())
    if not chosen.any():
        counted = [f"{n} {why}" for why, n in left_out.items() if n]
        told = ", ".join(counted) if len(ok) else "no row at all"
        where = predicate.where if predicate else ""
        reason = f"change {where!r}" if ok.any() else "run `earscribe fetch`"
        raise UserError(f"no pair to split in {data} ({told}): {reason}")
    return chosen, dict(left_out)


# ---------------------------------------------------------------- which part


def _deal(
    data: Path,
    config: SplitConfig,
    chosen: NDArray[np.bool_],
    keys: Mapping[str, Hashes],
    group: Codes,
) -> Parts:
    """The part of each chosen row."""
    if config.method == "released":
        return _released(data, config, chosen)
    names = _group_names(data / PAIRS_NAME, config.group, chosen, keys, group)
    sizes = np.bincount(group).tolist()
    dealt = METHODS[config.method](names, sizes, config.shares, config.seed)
    _refuse_empty(config, len(group), len(sizes), set(dealt))
    return np.array(dealt, dtype=np.int8)[group]


def _refuse_empty(config: SplitConfig, rows: int, groups: int, filled: set[int]) -> None:
    """UserError when a part would have no row."""
    empty = [name for place, name in enumerate(config.parts) if place not in filled]
    if not empty:
        return
    told = f"the {rows} pairs fall into {groups} groups by {config.group}"
    if groups < len(config.parts):
        raise UserError(
            f"{told}, too few for {len(config.parts)} parts ({', '.join(config.parts)}): give "
            "fewer parts, another group (work, recording), a wider `where` or more data"
        )
    raise UserError(
        f"{told}, and method 'stable' puts none of them into {', '.join(empty)}: give method "
        "'exact', another seed or other fractions"
    )


def _group_names(
    index: Path,
    kind: str,
    chosen: NDArray[np.bool_],
    keys: Mapping[str, Hashes],
    group: Codes,
) -> list[str]:
    """A name of each group that more rows of the same kind do not change.

    The first composer (work, recording) of the group in alphabetical order; the work where a row
    has none.
    """
    hashes = np.where(keys[kind] == 0, keys.get("work", keys[kind]), keys[kind])
    _, first, codes = np.unique(hashes, return_index=True, return_inverse=True)
    rows = read_table(index, columns=COLUMNS_OF_NAMES).take(np.flatnonzero(chosen)[first])
    told = evaluate([rows], {"name": f"coalesce({KEYS[kind]}, work_id)"})["name"]
    names, rank = np.unique(told.astype(str), return_inverse=True)
    least = np.full(group.max() + 1, len(names))
    np.minimum.at(least, group, rank[codes])
    return [str(name) for name in names[least]]


def _released(data: Path, config: SplitConfig, chosen: NDArray[np.bool_]) -> Parts:
    """The contiguous folds of the 2022 study: the rows in its own order, cut into equal runs."""
    path = data / ORDER_NAME
    if not path.is_file():
        raise UserError(f"no {path}: `earscribe import released FOLDER` writes it")
    with path.open(encoding="utf-8", newline="") as file:
        lines = [tuple(line) for line in csv.reader(file)]
    order = {line: place for place, line in reversed(list(enumerate(lines)))}  # the first counts
    table = read_table(data / PAIRS_NAME, columns=["work_id", "movements", "caption_raw"])
    rows: list[dict[str, Any]] = table.filter(pa.array(chosen)).to_pylist()
    places = [order.get(_study_key(row)) for row in rows]
    unknown = [row["work_id"] for row, place in zip(rows, places, strict=True) if place is None]
    if unknown:
        raise UserError(
            f"{len(unknown)} of the {len(rows)} pairs are none of the study's, such as one of "
            f"{unknown[0]}: leave them out with `where`"
        )
    folds = config.folds or 1
    parts = np.array([(place or 0) * folds // len(lines) for place in places], dtype=np.int8)
    if len(np.unique(parts)) < folds:
        raise UserError(f"of the study's {folds} folds some stay empty: leave out less by `where`")
    return parts


def _study_key(row: Mapping[str, Any]) -> tuple[str, ...]:
    return text_key(row["work_id"], " ".join(map(str, row["movements"])), row["caption_raw"])


# ---------------------------------------------------------------- what moved, what came out


def _parts_before(
    folder: Path, found: dict[str, Any] | None, head: Mapping[str, Any]
) -> dict[str, pa.Table]:
    """The ids of a stable split of the same definition over an older index, by part."""
    if found is None or found["definition"] != head["definition"] or not is_whole(folder, found):
        return {}
    if head["definition"]["method"] != "stable":
        return {}
    columns = ["pair_id", "composer", "work_id"]
    return {part: read_table(folder / f"{part}.parquet", columns) for part in found["parts"]}


def _moved(
    before: Mapping[str, pa.Table], folder: Path, record: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Works whose pairs are in another part than before: a new work joined their groups."""
    found: Counter[tuple[str, str, str]] = Counter()
    for now in record["parts"]:
        ids = read_table(folder / f"{now}.parquet", columns=["pair_id"])["pair_id"]
        for was, rows in before.items():
            if was != now:
                met = rows.filter(pc.is_in(rows["pair_id"], ids))
                found.update((str(work), was, now) for work in met["work_id"].to_pylist())
    return [
        {"work": work, "from": was, "to": now, "pairs": pairs}
        for (work, was, now), pairs in sorted(found.items())
    ]


SHOWN = ("rows", "share", "works", "composers", "without_composer")  # of a part, in the summary


def _summary(
    folder: Path,
    record: Mapping[str, Any],
    *,
    work_done: int,
    moved: Sequence[Mapping[str, Any]] = (),
) -> Summary:
    stable = record["definition"]["method"] == "stable"
    left_out = {f"left out: {why}": count for why, count in record["left_out"].items() if count}
    return Summary(
        stage="split",
        total=record["rows"],
        counts={name: part["rows"] for name, part in record["parts"].items()} | left_out,
        artifact=folder,
        details={
            **({"groups": record["groups"]} if record["groups"] else {}),
            "parts": [
                {"part": name} | {key: part[key] for key in SHOWN if key in part}
                for name, part in record["parts"].items()
            ],
            LEAK_TITLE: leak_rows(record["leaks"]),
            **({"works that moved": len(moved), "moved": moved[:SHOWN_GROUPS]} if stable else {}),
        },
        work_done=work_done,
    )


LEAK_TITLE = "share of rows whose ... stands in training"


def leak_rows(leaks: Mapping[str, Mapping[str, Mapping[str, float]]]) -> list[dict[str, Any]]:
    """The leak report as a row a part."""
    return [
        {"part": part} | {kind: found["share"] for kind, found in kinds.items()}
        for part, kinds in leaks.items()
    ]
