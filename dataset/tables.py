"""A person's own table of texts with addresses or audio files -> rows of the index."""

import dataclasses
import logging
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.files import sha256_file
from crawler.grammar import KEY
from crawler.items import Note, Part, Person, Recording, Work
from crawler.ledger import Ledger, State
from crawler.records import csv_lines, json_lines
from crawler.summary import Progress, Summary, silent
from dataset.cells import (
    Row,
    RowError,
    cell,
    is_empty,
    is_plain,
    local_address,
    read_seconds,
    web_address,
)
from dataset.cleaning import TYPOGRAPHY
from dataset.index import PAIRS_NAME, load_pairs, read_foreign, write_pairs
from dataset.neartexts import with_text_groups
from dataset.pairing import TABLE, PairConfig, Text, count_states, keep_cut, make_pair
from dataset.pairs import Pair
from dataset.recordings import Take

logger = logging.getLogger(__name__)

FORMS = (".csv", ".tsv", ".jsonl", ".parquet")
DELIMITERS = ",;\t|"
SHOWN = 20  # refused rows in the summary
AS_TYPED = PairConfig(min_words=0, max_words=sys.maxsize, clean=TYPOGRAPHY)
BROKEN = "\0broken"  # marks a row with more or fewer cells than the header


@dataclass(frozen=True, kw_only=True)
class TableConfig:
    """Which column of a table holds what."""

    text: str = "caption"
    url: str | None = None  # addresses or YouTube ids; either this or `file`
    file: str | None = None  # audio files on this machine, relative to the table
    start: str | None = None  # seconds, [h:]m:ss or 1m30s; an empty cell is the beginning
    end: str | None = None  # an empty cell is the end; without a column what the address says
    id: str | None = None  # rows of one id are of one work; without it those of one source
    title: str | None = None
    composer: str | None = None
    text_rights: str | None = None  # in all its texts: "CC BY 4.0"

    @property
    def columns(self) -> list[str]:
        """The columns that the table must have."""
        named = dataclasses.asdict(self)
        named.pop("text_rights")
        return [name for name in named.values() if name is not None]


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
    of this name are replaced, the clips of those that stay are kept. UserError when it cannot be
    read, is empty, lacks a column, or shares nothing with the earlier table of its name.
    """
    if (config.url is None) == (config.file is None):
        raise UserError("give one of --url and --file: the column of addresses or of files")
    rows = read_rows(file)
    _check_columns(file, rows, config)
    digest = sha256_file(file)
    index = data / PAIRS_NAME
    with Ledger(data):
        old = load_pairs(index) if index.is_file() else []
        before = {pair.pair_id: pair for pair in old if _is_of(pair, file)}
        made = make_pairs(file, digest, rows, config, progress)
        _refuse_other(file, before, made)
        pairs = [keep_cut(pair, before.get(pair.pair_id)) for pair in made]
        whole = with_text_groups([pair for pair in old if not _is_of(pair, file)] + pairs)
        changed = whole != old
        if changed:
            write_pairs(index, whole)
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
            "replaced rows": len(before),
            "rows no longer there": len(before.keys() - {pair.pair_id for pair in made}),
        },
        work_done=len(pairs) if changed else 0,
    )


def _is_of(pair: Pair, file: Path) -> bool:
    return pair.align_method == TABLE and pair.note_source == file.name


def _refuse_other(file: Path, before: Mapping[str, Pair], made: Sequence[Pair]) -> None:
    """UserError when the earlier table of this name had sources, and `made` has none of them."""
    sources = {pair.source_url for pair in before.values()} - {""}
    named = [pair for pair in made if pair.source_url]
    same = any(pair.pair_id in before or pair.source_url in sources for pair in named)
    if sources and not same:
        raise UserError(
            f"another table named {file.name} is in the index, and none of its recordings is in "
            f"{file}: give the file another name"
        )


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
    if form == ".jsonl":
        return [dict(row or {}) for _, row in json_lines(file)]
    try:
        body = file.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {file}: {error}") from error
    head = body.partition("\n")[0]
    return _csv_rows(file, body, "\t" if form == ".tsv" else max(DELIMITERS, key=head.count))


def _csv_rows(file: Path, body: str, delimiter: str) -> list[dict[str, Any]]:
    lines = csv_lines(file, body, delimiter)
    names = [name.strip() for name in next(lines, [])]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UserError(f"{file} has two columns named {twice[0]!r}: give one another name")
    return [
        dict(zip(names, cells, strict=False)) | ({} if len(cells) == len(names) else {BROKEN: True})
        for cells in lines
    ]


def _check_columns(file: Path, rows: Sequence[Row], config: TableConfig) -> None:
    if not rows:
        raise UserError(f"{file} has no rows")
    known = [name for name in dict.fromkeys(name for row in rows for name in row) if name != BROKEN]
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
        work_id = cell(row, config.id) or place
        pairs.append(make_row(file, digest, row, config, entry, (work_id, place), counts))
        counts[work_id, place] += 1
        progress(number, len(rows))
    return pairs


def _place(file: Path, row: Row, config: TableConfig, entry: Entry) -> str:
    """The name of a row's source: the YouTube id, the address, or the file as the table has it."""
    return entry.youtube_id or cell(row, config.file) or entry.url


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
    title = cell(row, config.title)
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
        composer=Person(name=cell(row, config.composer)),
        title=title,
        key=key[1] if key else None,
        notes=(note,),
        recordings=(recording,),
        page_sha256=digest,
    )
    text = Text(note, counts.get(names, 0), entry.text, (), 1.0, (), TABLE)
    pair = make_pair(work, text, Take(recording), AS_TYPED)
    if entry.reason is None:
        return pair
    return dataclasses.replace(pair, status=State.FILTERED, filter_reason=entry.reason)


def read_entry(file: Path, row: Row, config: TableConfig) -> Entry:
    """What a row says, or why it gives no pair."""
    entry = Entry(text=cell(row, config.text))
    try:
        _check_cells(row, config)
        start, end = cell(row, config.start), cell(row, config.end)
        if config.file is not None:
            entry = dataclasses.replace(entry, url=local_address(file, cell(row, config.file)))
        else:
            address = web_address(cell(row, config.url))
            entry = dataclasses.replace(entry, url=address.url, youtube_id=address.youtube_id)
            start = address.start if config.start is None else start
            end = address.end if config.end is None else end
        start_s, end_s = read_seconds(start), read_seconds(end)
        if end_s is not None and end_s <= (start_s or 0.0):
            raise RowError("bad_bounds")
        if not entry.text:
            raise RowError("empty_text")
        return dataclasses.replace(entry, start_s=start_s, end_s=end_s)
    except RowError as error:
        return dataclasses.replace(entry, reason=str(error))


def _check_cells(row: Row, config: TableConfig) -> None:
    """RowError for a broken row and for values that are no text, number or time."""
    if not row or BROKEN in row:
        raise RowError("broken_row")
    if not (is_empty(row.get(config.text)) or isinstance(row[config.text], str)):
        raise RowError("not_text")
    values = [row.get(name) for name in config.columns]
    if not all(is_empty(value) or is_plain(value) for value in values):
        raise RowError("bad_cell")
