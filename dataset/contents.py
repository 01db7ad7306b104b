"""What an export is to hold, before a byte of it is written: its files, its rows, their rights."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa

from crawler.errors import UserError
from crawler.files import sha256_file
from crawler.ledger import State
from dataset.parts import RECORD_NAME, folder_of, read_part, read_split
from dataset.places import Writer

Row = Mapping[str, Any]
RIGHTS_SHOWN = 3  # in an error; the card shows more


@dataclass(frozen=True, kw_only=True)
class Contents:
    """What an export is to hold. The same contents give the same shards."""

    form: str  # hf, files or ids
    made_from: str  # sha256 of what was exported: split.json, or the facts
    source: str  # what that is, in words
    schema: pa.Schema  # of the tables
    parts: Mapping[str, Sequence[Row]]  # part -> its rows
    patterns: Mapping[str, Sequence[str]]  # part -> its files, for loaders
    files: Mapping[str, Writer]  # name within the folder -> what writes it
    counts: Mapping[str, int]  # how every input ended
    details: Mapping[str, Any] = field(default_factory=dict)  # further figures

    @property
    def rows(self) -> list[Row]:
        """The rows of all parts."""
        return [row for rows in self.parts.values() for row in rows]

    @property
    def in_parts(self) -> bool:
        """Whether it is a split; facts are in one piece."""
        return self.form != "ids"

    @property
    def bound(self) -> int:
        """Rows that may not be passed on: with any, the export is a local one."""
        return sum(not row.get("redistributable", True) for row in self.rows)


def read_parts(data: Path, split: str, local: bool) -> tuple[dict[str, list[Row]], str]:
    """The rows of every part of a split, and the sha256 of its split.json.

    UserError for an empty part, for pairs that are still pending, and, unless `local`, for pairs
    that may not be passed on.
    """
    record = read_split(data, split)
    folder = folder_of(data, split)
    parts: dict[str, list[Row]] = {
        part: list(read_part(folder, record, part).to_pylist()) for part in record["parts"]
    }
    if empty := [part for part, rows in parts.items() if not rows]:
        raise UserError(
            f"part {empty[0]} of split {split!r} has no pairs: run `earscribe split` with a wider "
            "--where or other parts, then export again"
        )
    rows = [row for own in parts.values() for row in own]
    if any(row["status"] != State.OK for row in rows):
        raise UserError(
            f"split {split!r} was made with pending pairs: run `earscribe fetch`, then "
            "`earscribe split` without --pending"
        )
    if not local:
        _refuse_bound(split, rows)
    return parts, sha256_file(folder / RECORD_NAME)


def _refuse_bound(split: str, rows: Sequence[Row]) -> None:
    bound = [row for row in rows if not row["redistributable"]]
    if not bound:
        return
    rights = rights_of(bound, ("text_rights", "audio_rights")).most_common(RIGHTS_SHOWN)
    told = "; ".join(" ".join(name.split())[:60] for name, _ in rights)
    raise UserError(
        f"{len(bound)} of the {len(rows)} pairs of split {split!r} may not be passed on (column "
        f"redistributable), for their prose or music belongs to others ({told}): give --local for "
        'a copy that stays with you, make a split with --where "redistributable", or pass on '
        "facts alone with `earscribe export ids`"
    )


def rights_of(rows: Sequence[Row], columns: Sequence[str]) -> Counter[str]:
    """How many values of these columns name which rights."""
    return Counter(row[column] for row in rows for column in columns if column in row)


# ---------------------------------------------------------------- clips


def clip_of(data: Path, row: Row) -> Path:
    """The file of a row's clip; UserError when it is not there."""
    path = data / str(row["audio"]["path"])
    if not path.is_file():
        raise UserError(f"the clip {path} is missing: run `earscribe fetch`, then export again")
    return path


def sound_of(data: Path, row: Row) -> bytes:
    """The bytes of a row's clip; UserError when they are not those of the index."""
    path = clip_of(data, row)
    if sha256_file(path) != row["sha256"]:
        raise UserError(f"the clip {path} is altered: run `earscribe validate` to see what else is")
    return path.read_bytes()
