"""One pair looked at closely: its row, the history of its source and its cut, its clip."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.items import read_works
from crawler.ledger import LEDGER_NAME, Ledger
from dataset.bounds import clip_item
from dataset.index import PAIRS_NAME, load_pairs, pair_to_row
from dataset.overrides import OVERRIDE
from dataset.pairing import WORKS_NAME, work_texts
from dataset.pairs import Pair, pair_id
from dataset.rows import content_key, source_key
from dataset.schema import COLUMNS

PREFIX = re.compile(r"[0-9a-f]{6,16}")
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Closeup:
    """What is known of one pair."""

    pair: Pair
    history: Sequence[Row]  # attempts, oldest first; [] without a ledger
    clip: Path | None  # absolute; None = it has none
    is_there: bool

    def rows(self) -> list[Row]:
        """A row a column: column, value as text, unit."""
        values = pair_to_row(self.pair)
        return [
            {"column": column.name, "value": told(values[column.name]), "unit": column.unit}
            for column in COLUMNS
        ]

    def to_dict(self) -> Row:
        """Plain JSON values."""
        return {
            "pair": pair_to_row(self.pair),
            "history": list(self.history),
            "clip": {"path": str(self.clip), "is_there": self.is_there} if self.clip else None,
        }


def told(value: Any) -> str:
    """A value in one line of text; "" for null."""
    match value:
        case None:
            return ""
        case list():
            return "; ".join(map(told, value))
        case dict():
            return json.dumps(value, ensure_ascii=False)
        case str():
            return " ".join("".join(c if c.isprintable() else " " for c in value).split())
    return str(value)


def find_pairs(data: Path, asked: str) -> list[Pair]:
    """The pairs whose id begins with `asked`, by id; UserError when there is none.

    A pair whose movements a person gave is also found by the id it had before.
    """
    prefix = asked.strip().lower()
    if not PREFIX.fullmatch(prefix):
        raise UserError(f"{asked!r} is no pair_id: give its 16 hexadecimal digits or the first 6")
    pairs = load_pairs(data / PAIRS_NAME)
    found = [pair for pair in pairs if pair.pair_id.startswith(prefix)]
    found = found or [pair for key, pair in former_ids(data, pairs) if key.startswith(prefix)]
    if not found:
        raise UserError(
            f"no pair {asked!r} in {data / PAIRS_NAME}: `earscribe pair --review 10` names some"
        )
    return sorted(found, key=lambda pair: pair.pair_id)


def former_ids(data: Path, pairs: Sequence[Pair]) -> Iterator[tuple[str, Pair]]:
    """(the id that it would have without corrections, pair) of those with movements by hand."""
    moved = [pair for pair in pairs if pair.align_method == OVERRIDE]
    if not moved or not (data / WORKS_NAME).is_file():
        return
    wanted = {pair.work_id for pair in moved}
    read = {
        (work.work_id, text.note.source, text.index): text.movements
        for work in read_works(data / WORKS_NAME)
        if work.work_id in wanted
        for text in work_texts(work)
    }
    for pair in moved:
        text = (pair.work_id, pair.note_source, pair.text_index)
        if text in read:
            yield pair_id(pair.work_id, read[text], *text[1:], pair.recording_id), pair


def look_closely(data: Path, pair: Pair) -> Closeup:
    """The pair with the ledger's history of it, and its clip."""
    clip = (data / pair.audio["path"]).resolve() if pair.audio else None
    return Closeup(pair, history(data, pair), clip, clip is not None and clip.is_file())


def history(data: Path, pair: Pair) -> list[Row]:
    """The attempts to fetch a pair's source and to cut its clip; [] without a ledger."""
    path = data / LEDGER_NAME
    if not path.is_file() or not path.stat().st_size:
        return []
    with Ledger(data, read_only=True) as ledger:
        items = [("source", source_key(pair)), ("cut", cut_item(ledger, pair))]
        found = [(stage, one) for stage, item in items for one in ledger.attempts(stage, item)]
    return [attempt_row(*one) for one in sorted(found, key=lambda one: float(one[1]["ended_s"]))]


def cut_item(ledger: Ledger, pair: Pair) -> str:
    """The key of a pair's clip in the ledger, as its row says what was asked for."""
    key = source_key(pair)
    source = ledger.entry("source", key) if key.startswith("file:") else None
    if source is not None and "sha256" in source.result:
        key = content_key(key, source)
    mark = pair.config_fingerprint or ""
    return clip_item(key, pair.movements, pair.start_s, pair.end_s, mark)


def attempt_row(stage: str, attempt: Mapping[str, Any]) -> Row:
    """One attempt for people: times in UTC, versions of the tools in one line."""
    tools = json.loads(attempt["tools"])
    return {
        "stage": stage,
        "state": attempt["state"],
        "class": attempt["error_class"] or "",
        "message": told(attempt["message"]),
        "started": utc(attempt["started_s"]),
        "ended": utc(attempt["ended_s"]),
        "tools": ", ".join(f"{name} {version}" for name, version in tools.items()),
    }


def utc(seconds: float) -> str:
    """A time of the ledger as 2026-03-01T12:00:00Z."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
