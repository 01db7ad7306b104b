"""What the report tells of a data folder: its pairs, works, ledger and splits, read once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path, PurePosixPath
from typing import Any

from crawler.errors import SchemaVersionError
from crawler.files import sha256_file
from crawler.items import Work, read_works
from crawler.ledger import LEDGER_NAME, Ledger, State
from dataset.index import PAIRS_NAME, read_table
from dataset.pairing import WORKS_NAME
from dataset.pairs import stable_id
from dataset.parts import read_split, split_names
from dataset.samples import SAMPLES, choose_samples

COLUMNS = (  # of the index that the page is made of
    *("pair_id", "work_id", "movements", "clip_id", "caption", "note_source", "text_index"),
    *("num_words", "num_tokens", "align_score", "composer", "title", "opus", "key", "mode"),
    *("year", "ensemble", "movement_name", "tempo_class", "performers", "source_url", "audio"),
    *("sample_rate", "num_samples", "loudness_lufs", "status", "stage", "error_class"),
    *("error_message", "filter_reason", "config_fingerprint", "text_rights", "redistributable"),
)
Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Everything the page is made of."""

    rows: Sequence[Row]
    works: Sequence[Work] | None  # None = no works.jsonl, the index was imported
    ledger: Sequence[tuple[str, str, str | None, int]]  # stage, state, class, items
    splits: Sequence[Mapping[str, Any]]  # split.json of each
    unread: Sequence[str]  # why a split is not shown
    index_sha256: str
    samples: Sequence[Row]
    heard: Mapping[str, str | None]  # path of a sample's clip -> its sha256, None = missing

    @cached_property
    def ok(self) -> list[Row]:
        """The pairs that have music."""
        return [row for row in self.rows if has_music(row)]

    @cached_property
    def texts(self) -> list[Row]:
        """One row a text, whatever the number of recordings."""
        names = ("work_id", "note_source", "text_index", "caption")
        texts = {(*(row[name] for name in names), *row["movements"]): row for row in self.rows}
        return list(texts.values())

    @cached_property
    def clips(self) -> list[Row]:
        """One row a clip, whatever the number of texts."""
        return list({row["clip_id"]: row for row in self.ok}.values())

    @property
    def digest(self) -> str:
        """Changes when what is told changes."""
        works = stable_id(*(work.work_id for work in self.works or ()))
        index = (self.index_sha256, works, self.ledger, self.splits, self.unread)
        return stable_id(*index, self.heard)


def has_music(row: Row) -> bool:
    """Whether a row says that it has a clip in the data folder, and how long it is."""
    if row["status"] != State.OK or not row["audio"] or not row["audio"]["path"]:
        return False
    place = PurePosixPath(row["audio"]["path"])  # of an index from elsewhere it may be anything
    outside = place.is_absolute() or ".." in place.parts
    return not outside and bool(row["sample_rate"] and row["num_samples"])


def gather(data: Path) -> Facts:
    """Read a data folder; UserError when there is no index that can be read."""
    rows = read_table(data / PAIRS_NAME, COLUMNS).to_pylist()
    samples = choose_samples(filter(has_music, rows), SAMPLES)
    clips = sorted({str(row["audio"]["path"]) for row in samples})
    splits, unread = _read_splits(data)
    works = data / WORKS_NAME
    return Facts(
        rows=rows,
        works=read_works(works) if works.is_file() else None,
        ledger=_ledger_counts(data),
        splits=splits,
        unread=unread,
        index_sha256=sha256_file(data / PAIRS_NAME),
        samples=samples,
        heard={n: sha256_file(data / n) if (data / n).is_file() else None for n in clips},
    )


def _ledger_counts(data: Path) -> list[tuple[str, str, str | None, int]]:
    path = data / LEDGER_NAME
    if not path.is_file() or not path.stat().st_size:
        return []
    with Ledger(data, read_only=True) as ledger:
        return ledger.counts()


def _read_splits(data: Path) -> tuple[list[dict[str, Any]], list[str]]:
    """The splits, and of each that cannot be read the reason."""
    splits, unread = [], []
    for name in split_names(data):
        try:
            splits.append(read_split(data, name))
        except SchemaVersionError as error:
            unread.append(str(error).removeprefix(f"{data}/"))
    return splits, unread
