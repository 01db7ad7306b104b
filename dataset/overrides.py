"""A person's corrections of movements, captions, videos and bounds: overrides.csv."""

import re
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.records import numbered_lines
from crawler.urls import slug
from dataset.cells import Address, RowError, read_seconds, web_address
from dataset.cleaning import TYPOGRAPHY, clean

OVERRIDES_NAME = "overrides.csv"
OVERRIDE = "override"  # a person gave the movements of a text, or the bounds of a clip
HEADER = ("work", "movement", "column", "value", "why")
PAIR_ID = re.compile(r"[0-9a-f]{16}")
NONE = "none"
NUMBERS = re.compile(r"\d{1,2}(?:[ ,]+\d{1,2})*", re.ASCII)
MOST_SHOWN = 80  # characters of a wrong header
OF_TEXT = ("caption", "status")  # hold for all recordings of the text that a pair_id names

Movements = tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Override:
    """One line of the file."""

    line: int
    target: str  # a pair_id or a work_id
    movements: Movements | None  # whose texts it concerns; None beside a pair_id
    column: str
    value: Any  # as its reader in COLUMNS gives it
    given: str  # the same as the cell has it


@dataclass(frozen=True, slots=True)
class Correction:
    """What a person says of one pair, beside its movements."""

    caption: str | None = None  # None = as it was read
    dropped: bool = False
    video: Address | None = None  # None = as the page has it
    bounds: Mapping[str, float | None] = field(default_factory=dict)  # of start_s and end_s
    lines: tuple[int, ...] = ()  # of the file; () = nothing is said


class Overrides:
    """The lines of a file by what they concern, and which of them have found a text."""

    def __init__(self, overrides: Iterable[Override] = ()) -> None:
        self.all = tuple(overrides)
        self.moves = [one for one in self.all if one.column == "movements"]
        self.of: dict[str, list[Override]] = defaultdict(list)
        for one in self.all:
            if one.column != "movements":
                self.of[one.target].append(one)
        self.used: set[int] = set()  # lines

    def idle(self) -> list[Override]:
        """Those that have found no text."""
        return [one for one in self.all if one.line not in self.used]

    def movements(
        self, work_id: str, read: Movements, ids: Callable[[Movements], Collection[str]]
    ) -> list[Movements]:
        """The movements of a text: as they were read, then as each line in turn gives them.

        `ids` are those of the text's pairs, were it of some movements: a pair_id names them as
        they were before a correction or after it. A work's lines mean the movements as read, so
        that two of them can exchange two movements.
        """
        found, known, work = [read], set(ids(read)), work_key(work_id)
        for one in self.moves:
            named = one.target == work and one.movements == read
            if named or one.target in known:
                self.used.add(one.line)
                found.append(one.value)
                known.update(ids(one.value))
        return found

    def correction(
        self, work_id: str, movements: Movements, own: Collection[str], others: Collection[str]
    ) -> Correction:
        """What is said of the pair of these ids, of its text's pairs and of its movements.

        The last line that speaks of a column wins.
        """
        work = [one for one in self._lines(work_key(work_id)) if one.movements == movements]
        mine = [one for key in own for one in self._lines(key)]
        text = [one for key in others for one in self._lines(key) if one.column in OF_TEXT]
        said = {one.line: one for one in (*work, *mine, *text)}
        self.used.update(said)
        values = {one.column: one.value for _, one in sorted(said.items())}
        return Correction(
            caption=values.get("caption"),
            dropped="status" in values or values.get("source_url", "") is None,
            video=values.get("source_url"),
            bounds={name: values[name] for name in ("start_s", "end_s") if name in values},
            lines=tuple(sorted(said)),
        )

    def _lines(self, target: str) -> Sequence[Override]:
        return self.of.get(target, ())


def work_key(text: str) -> str:
    """A work's slug in its one spelling, or the text itself when it is none."""
    try:
        return slug(text)
    except UserError:
        return text


# ---------------------------------------------------------------- reading


def read_overrides(path: Path) -> Overrides:
    """The corrections of a file, none when there is no file.

    UserError for the first line that cannot be read, with its number and what is allowed, and
    for two lines that contradict each other.
    """
    if not (path.exists() or path.is_symlink()):
        return Overrides()
    if not path.is_file():
        raise UserError(f"{path} is no file: move it away, or put the corrections there")
    lines = _told_lines(path)
    number, head = next(lines, (1, []))
    names = [name.strip() for name in head]
    if sorted(names) != sorted(HEADER):
        given = ",".join(names)[:MOST_SHOWN]
        raise UserError(
            f"{path} line {number} is {given!r}: give the header {','.join(HEADER)} there"
        )
    found = [read_line(path, number, names, cells) for number, cells in lines]
    refuse_contradictions(path, found)
    return Overrides(found)


def refuse_contradictions(path: Path, overrides: Iterable[Override]) -> None:
    """UserError for two lines that give one column of one target two values."""
    said: dict[tuple[str, Movements | None, str], Override] = {}
    for one in overrides:
        first = said.setdefault((one.target, one.movements, one.column), one)
        if first.value != one.value:
            raise UserError(
                f"{path} lines {first.line} and {one.line} contradict each other: {one.column} of "
                f"{one.target} is {first.given!r} and {one.given!r}: leave one of them out"
            )


def _told_lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(number, cells) of every line that is neither blank nor a remark, without empty ends."""
    try:
        body = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"cannot read {path} as UTF-8: {error}") from error
    if "\0" in body:
        line = body[: body.index("\0")].count("\n") + 1
        raise UserError(f"{path} line {line} holds a NUL: it is no text, save it as CSV in UTF-8")
    for number, cells in numbered_lines(path, body):
        while cells and not cells[-1].strip() and len(cells) > len(HEADER):
            cells.pop()  # what spreadsheets add
        if any(cell.strip() for cell in cells) and not cells[0].startswith("#"):
            yield number, cells


def read_line(path: Path, line: int, names: Sequence[str], cells: Sequence[str]) -> Override:
    """The correction of one line; UserError for a malformed one."""
    where = f"{path} line {line}"
    if len(cells) != len(HEADER):
        raise UserError(
            f"{where} has {len(cells)} cells, not {len(HEADER)} ({','.join(HEADER)}): put a value "
            "that holds a comma between double quotes"
        )
    row = {name: cell.strip() for name, cell in zip(names, cells, strict=True)}
    column = row["column"]
    if column not in COLUMNS:
        raise UserError(f"{where}: column {column!r} is not one of {', '.join(COLUMNS)}")
    if not row["why"]:
        raise UserError(f"{where}: why is empty: say in a few words what is wrong without it")
    read, allowed = COLUMNS[column]
    try:
        value = read(row["value"])
    except ValueError as error:
        raise UserError(f"{where}: {column} {row['value']!r} is not allowed: {allowed}") from error
    movements = _whose(where, row)
    if column == "caption" and movements is not None:
        raise UserError(f"{where}: a caption is of one text: name it by its pair_id in work")
    target = row["work"] if movements is None else work_key(row["work"])
    return Override(line, target, movements, column, value, row["value"])


def _whose(where: str, row: Mapping[str, str]) -> Movements | None:
    """The movements of the work whose texts a line concerns; None when it names a pair."""
    work, movement = row["work"], row["movement"]
    if not work:
        raise UserError(f"{where}: work is empty: give the slug of a work or a pair_id")
    if PAIR_ID.fullmatch(work):
        if movement:
            raise UserError(
                f"{where}: movement {movement!r} beside the pair_id {work}: leave it empty, or "
                "give the work's slug"
            )
        return None
    try:
        return read_movements(movement or "-")  # empty: which ones is not said
    except ValueError as error:
        raise UserError(
            f"{where}: movement {movement!r} of {work!r} is not allowed: give 2 or 3 4, or none "
            "for texts on the whole work"
        ) from error


def read_movements(text: str) -> Movements:
    """Neighbouring movements of "3 4", () for "none" and ""; else ValueError."""
    if text.casefold() in ("", NONE):
        return ()
    if not NUMBERS.fullmatch(text):
        raise ValueError(text)
    numbers = tuple(sorted(map(int, re.split(r"[ ,]+", text))))
    if numbers[0] < 1 or numbers != tuple(range(numbers[0], numbers[0] + len(numbers))):
        raise ValueError(text)
    return numbers


def read_video(text: str) -> Address | None:
    """The address of a video, None for "none"; else RowError."""
    if text.casefold() == NONE:
        return None
    address = web_address(text)
    if " " in address.url:  # one address: several stand for a movement in several files
        raise RowError("no_address")
    if address.start or address.end:
        raise RowError("bounds")
    return address


def read_start(text: str) -> float:
    """Seconds; RowError when there are none."""
    found = read_seconds(text)
    if found is None:
        raise RowError("bad_number")
    return found


def read_end(text: str) -> float | None:
    """Seconds, None for "none"; else RowError."""
    return None if text.casefold() == NONE else read_start(text)


def read_status(text: str) -> str:
    """The one status that a person can give."""
    if text.casefold() != "drop":
        raise ValueError(text)
    return "drop"


def read_caption(text: str) -> str:
    """A caption as it goes into the index; ValueError when nothing is left of it."""
    caption = clean(text, TYPOGRAPHY)
    if not caption:
        raise ValueError(text)
    return caption


COLUMNS: dict[str, tuple[Callable[[str], Any], str]] = {  # column -> its reader, what it allows
    "movements": (read_movements, "give 2 or 3 4, or none for the whole work"),
    "source_url": (
        read_video,
        "give an http address or the 11 characters of a YouTube id, without a time in it (that "
        "is for start_s and end_s), or none to do without this recording",
    ),
    "start_s": (read_start, "give seconds or m:ss"),
    "end_s": (read_end, "give seconds or m:ss, or none for the end of the video"),
    "status": (read_status, "give drop"),
    "caption": (read_caption, "give the text"),
}
