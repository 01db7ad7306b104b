"""A person's own table of texts with addresses or audio files -> rows of the index."""

import csv
import dataclasses
import io
import json
import logging
import math
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crawler.errors import UserError
from crawler.files import sha256_file
from crawler.grammar import KEY, seconds
from crawler.items import Note, Part, Person, Recording, Work
from crawler.ledger import Ledger, State
from crawler.summary import Progress, Summary, silent
from dataset.index import PAIRS_NAME, load_pairs, read_foreign, write_pairs
from dataset.pairing import TABLE, PairConfig, Text, count_states, keep_cut, make_pair
from dataset.schema import Pair

logger = logging.getLogger(__name__)

FORMS = (".csv", ".tsv", ".jsonl", ".parquet")
DELIMITERS = ",;\t|"
WATCH = "https://www.youtube.com/watch?v={id}"
YOUTUBE = ("youtube.com", "www.youtube.com", "m.youtube.com", "music.youtube.com", "youtu.be")
YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
LINK = re.compile(r"(?:[?&]v=|youtu\.be/|/(?:embed|shorts|live)/)([\w-]{11})(?![\w-])", re.ASCII)
SHOWN = 20  # refused rows in the summary
EXTRA = "\0extra"  # cells beyond the header's columns
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Which column of a table holds what."""

    text: str
    url: str | None = None  # addresses or YouTube ids; either this or `file`
    file: str | None = None  # audio files on this machine, relative to the table
    start: str | None = None  # seconds or [h:]m:ss; an empty cell is the beginning
    end: str | None = None  # an empty cell is the end
    id: str | None = None  # rows of one id are of one work; without it those of one source
    title: str | None = None
    composer: str | None = None
    text_rights: str | None = None  # in all its texts: "CC BY 4.0"

    def __post_init__(self) -> None:
        if (self.url is None) == (self.file is None):
            raise UserError("give one of --url and --file: the column of addresses or of files")

    @property
    def columns(self) -> list[str]:
        """The columns that the table must have."""
        named = dataclasses.asdict(self)
        named.pop("text_rights")
        return [name for name in named.values() if name is not None]


class RowError(ValueError):
    """A row that gives no pair; its first argument is the reason, the second what is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One row of a table."""

    text: str = ""
    url: str = ""
    youtube_id: str | None = None
    start_s: float | None = None
    end_s: float | None = None
    reason: str | None = None  # why it gives no pair


def import_table(
    data: Path, file: Path, config: TableConfig, progress: Progress = silent
) -> Summary:
    """Put the rows of a table into the index, pending or filtered with a reason.

    `file` is CSV (comma, semicolon, tab or bar), JSONL or parquet. The rows of an earlier table
    of this name are replaced, their clips kept. UserError when it cannot be read, is empty or
    lacks a column.
    """
    rows = read_rows(file)
    _check_columns(file, rows, config)
    digest = sha256_file(file)
    index = data / PAIRS_NAME
    with Ledger(data):
        old = load_pairs(index) if index.is_file() else []
        before = {pair.pair_id: pair for pair in old if _is_of(pair, file)}
        made = make_pairs(file, digest, rows, config, progress)
        pairs = [keep_cut(pair, before.get(pair.pair_id)) for pair in made]
        changed = {pair.pair_id: pair for pair in pairs} != before
        if changed:
            write_pairs(index, [pair for pair in old if not _is_of(pair, file)] + pairs)
    sources = {pair.source_url for pair in pairs if pair.source_url}
    refused = [
        {"row": number, "reason": pair.filter_reason}
        for number, pair in enumerate(made, start=1)
        if pair.filter_reason
    ]
    return Summary(
        stage="import",
        total=len(pairs),
        counts=count_states(pairs),
        artifact=index,
        details={
            "filtered rows": refused[:SHOWN],
            "sources": len(sources),
        },
        work_done=len(pairs) if changed else 0,
    )


def _is_of(pair: Pair, file: Path) -> bool:
    return pair.align_method == TABLE and pair.note_source == file.name


# ---------------------------------------------------------------- reading


def read_rows(file: Path) -> list[dict[str, Any]]:
    """The rows of a CSV, TSV, JSONL or parquet file as column -> value; {} for a broken line."""
    if not file.is_file():
        raise UserError(f"no table {file}")
    form = file.suffix.lower()
    if form == ".parquet":
        return read_foreign(file)
    if form not in FORMS:
        raise UserError(f"{file} is of unknown form {form!r}: give one of {', '.join(FORMS)}")
    try:
        body = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}") from error
    return _json_rows(body) if form == ".jsonl" else _csv_rows(file, body)


def _json_rows(body: str) -> list[dict[str, Any]]:
    return [_json_row(line) for line in body.split("\n") if line.strip()]


def _json_row(line: str) -> dict[str, Any]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        return {}
    return row if isinstance(row, dict) else {}


def _csv_rows(file: Path, body: str) -> list[dict[str, Any]]:
    head = body.partition("\n")[0]
    delimiter = max(DELIMITERS, key=head.count)
    try:
        return list(
            csv.DictReader(io.StringIO(body, newline=""), delimiter=delimiter, restkey=EXTRA)
        )
    except csv.Error as error:
        raise UserError(f"{file} is not CSV: {error}") from error


def _check_columns(file: Path, rows: Sequence[Row], config: TableConfig) -> None:
    if not rows:
        raise UserError(f"{file} has no rows")
    known = [name for name in dict.fromkeys(name for row in rows for name in row) if name != EXTRA]
    for name in config.columns:
        if name not in known:
            raise UserError(f"{file} has no column {name!r}; its columns: {', '.join(known)}")


# ---------------------------------------------------------------- rows


def make_pairs(
    file: Path, digest: str, rows: Sequence[Row], config: TableConfig, progress: Progress
) -> list[Pair]:
    """A pair for each row, in their order; rows of one id and one source are counted on."""
    counts: Counter[tuple[str, str]] = Counter()
    pairs = []
    for number, row in enumerate(rows, start=1):
        entry = read_entry(file, row, config)
        place = _place(file, row, config, entry) or f"{file.name}:{number}"
        work_id = _cell(row, config.id) or place
        pairs.append(make_row(file, digest, row, config, entry, (work_id, place), counts))
        counts[work_id, place] += 1
        progress(number, len(rows))
    return pairs


def _place(file: Path, row: Row, config: TableConfig, entry: Entry) -> str:
    """The name of a row's source: the YouTube id, the address, or the file as the table has it."""
    return entry.youtube_id or _cell(row, config.file) or entry.url


def make_row(
    file: Path,
    digest: str,
    row: Row,
    config: TableConfig,
    entry: Entry,
    names: tuple[str, str],  # of the work and of the source
    counts: Mapping[tuple[str, str], int],
) -> Pair:
    """The row of the index that a table's row stands for: a text of a whole "work"."""
    work_id, place = names
    title = _cell(row, config.title)
    key = KEY.search(title)
    part = Part(
        video_id=place, youtube_id=entry.youtube_id, url=entry.url, movement=0,
        start_s=entry.start_s, end_s=entry.end_s,
    )  # fmt: skip
    note = Note(source=file.name, text=entry.text, credit=config.text_rights, movements=())
    recording = Recording(recording_id=place, parts=(part,))
    work = Work(
        work_id=work_id,
        page_url=f"table:{file.name}",
        composer=Person(name=_cell(row, config.composer)),
        title=title,
        key=key[1] if key else None,
        notes=(note,),
        recordings=(recording,),
        page_sha256=digest,
    )
    text = Text(note, counts.get(names, 0), entry.text, (), 1.0, (), TABLE)
    pair = make_pair(work, text, recording, PairConfig(min_words=0))
    if entry.reason is None:
        return pair
    return dataclasses.replace(pair, status=State.FILTERED, filter_reason=entry.reason)


def read_entry(file: Path, row: Row, config: TableConfig) -> Entry:
    """What a row says, or why it gives no pair."""
    entry = Entry(text=_cell(row, config.text))
    try:
        if not row or EXTRA in row:
            raise RowError("broken_row")
        if config.file is not None:
            entry = dataclasses.replace(entry, url=local_address(file, _cell(row, config.file)))
        else:
            url, youtube_id = web_address(_cell(row, config.url))
            entry = dataclasses.replace(entry, url=url, youtube_id=youtube_id)
        start_s = read_seconds(_cell(row, config.start))
        end_s = read_seconds(_cell(row, config.end))
        if end_s is not None and end_s <= (start_s or 0.0):
            raise RowError("bad_bounds")
        if not entry.text:
            raise RowError("empty_text")
        return dataclasses.replace(entry, start_s=start_s, end_s=end_s)
    except RowError as error:
        return dataclasses.replace(entry, reason=str(error))


def _cell(row: Row, column: str | None) -> str:
    """A value as text that can be written; "" for none, an empty cell and not-a-number."""
    value = row.get(column) if column is not None else None
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return ""
    return str(value).encode("utf-8", "replace").decode().strip()  # JSON: half characters


def local_address(table: Path, name: str) -> str:
    """The file: address of an audio file, relative to the table's folder."""
    if not name:
        raise RowError("no_file")
    try:
        path = (table.parent / name).resolve()
        if not path.is_file():
            raise RowError("no_file")
    except (OSError, ValueError) as error:  # a name that no file can have
        raise RowError("no_file") from error
    return path.as_uri()


def web_address(cell: str) -> tuple[str, str | None]:
    """(address, YouTube id or None) of an http address or of a bare YouTube id."""
    if YOUTUBE_ID.fullmatch(cell):
        return WATCH.format(id=cell), cell
    try:
        parts = urlsplit(cell)
        host = parts.hostname
    except ValueError as error:
        raise RowError("no_address") from error
    if parts.scheme not in ("http", "https") or not host or not cell.isprintable():
        raise RowError("no_address")
    found = LINK.search(cell) if host in YOUTUBE else None
    return (WATCH.format(id=found[1]), found[1]) if found else (cell, None)


def read_seconds(cell: str) -> float | None:
    """Seconds of a number or of [h:]m:ss; None for an empty cell."""
    if not cell:
        return None
    clock = seconds(cell)
    if clock is not None:
        return float(clock)
    try:
        number = float(cell)
    except ValueError as error:
        raise RowError("bad_number") from error
    if not math.isfinite(number) or number < 0:
        raise RowError("bad_number")
    return number
