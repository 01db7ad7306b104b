"""What a crawl finds: works with their movements, recordings and notes, and articles."""

import dataclasses
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler.errors import SchemaVersionError, UserError
from crawler.files import atomic_path

WORKS_VERSION = 1  # of the lines in works.jsonl


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A composer as the page prints it."""

    name: str
    birth_year: int | None = None
    death_year: int | None = None
    nationality: str | None = None
    born: str | None = None  # "January 27, 1806, Bilbao"
    died: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """One line of the movement list."""

    number: int  # 1-based
    name: str  # without the Roman numeral: "Allegro con brio"
    typical_s: int | None = None  # the time printed beside it, not that of any recording


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One playable stretch of a recording: a movement, a part of one, or the whole work."""

    video_id: str  # site's key: YouTube id followed by the movement number
    youtube_id: str | None  # 11 characters; None for a local file or another host
    url: str  # where the audio is fetched
    movement: int | None  # 1-based; 0 = the complete work; None = not said
    start_s: float | None = None  # None = the beginning or unknown
    end_s: float | None = None  # None = to the end or unknown
    duration_s: float | None = None  # as printed
    name: str = ""  # "Allegro con brio", or "" for a complete work


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """The parts that one group of performers plays, in order."""

    recording_id: str  # video_id of its first part
    performers: tuple[str, ...] = ()
    qualifiers: tuple[str, ...] = ()  # "live", "score", "complete"
    parts: tuple[Part, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """A piece of prose with its source; paragraphs are separated by a blank line."""

    source: str  # "Edition Silvertrust"
    text: str
    credit: str | None = None  # the line that says who holds the rights
    movements: tuple[int, ...] | None = None  # it speaks of, if given; None = to be read in it
    flags: tuple[str, ...] = ()  # what speaks against these


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One work page."""

    work_id: str  # the slug of its page
    page_url: str  # canonical address
    composer: Person
    title: str  # as printed: "String Quartet No. 1 in d minor"
    key: str | None = None  # "d minor", "E-flat major"; the case of the letter is the site's
    opus: str | None = None  # "Op. 64, No. 5", "K. 155"
    catalogue: str | None = None  # the number of a catalogue beside an opus: "D. 887"
    instrumentation: str | None = None  # "2 violins, viola and cello"
    movements: tuple[Movement, ...] = ()
    facts: Mapping[str, str] = dataclasses.field(default_factory=dict)  # "Composed" -> "1824 ..."
    recordings: tuple[Recording, ...] = ()
    notes: tuple[Note, ...] = ()
    related: tuple[str, ...] = ()  # names of related composers
    page_sha256: str | None = None  # of the stored body


@dataclass(frozen=True, slots=True, kw_only=True)
class Article:
    """One article page."""

    article_id: str  # the slug of its page
    page_url: str
    title: str
    text: str  # paragraphs separated by a blank line
    date: str | None = None  # as printed
    page_sha256: str | None = None


NAMES = {
    kind: tuple(item.name for item in dataclasses.fields(kind))
    for kind in (Person, Movement, Part, Recording, Note, Work, Article)
}


def work_to_dict(work: Work | Article) -> dict[str, Any]:
    """Plain JSON values of a work or an article, in field order."""
    plain: dict[str, Any] = _plain(work)
    return plain


def _plain(value: Any) -> Any:
    """What dataclasses.asdict gives, without its copies of what never changes."""
    if isinstance(value, tuple):
        return tuple(map(_plain, value))
    names = NAMES.get(type(value))
    return value if names is None else {name: _plain(getattr(value, name)) for name in names}


def work_from_dict(row: Mapping[str, Any]) -> Work:
    """Rebuild a Work from `work_to_dict`'s values; KeyError or TypeError when they do not fit."""
    recordings = tuple(
        Recording(
            **{
                **recording,
                "performers": tuple(recording["performers"]),
                "qualifiers": tuple(recording["qualifiers"]),
                "parts": tuple(Part(**part) for part in recording["parts"]),
            }
        )
        for recording in row["recordings"]
    )
    return Work(
        **{
            **row,
            "composer": Person(**row["composer"]),
            "movements": tuple(Movement(**movement) for movement in row["movements"]),
            "recordings": recordings,
            "notes": tuple(_note(note) for note in row["notes"]),
            "related": tuple(row["related"]),
        }
    )


def _note(row: Mapping[str, Any]) -> Note:
    given = row.get("movements")
    return Note(
        **{
            **row,
            "movements": None if given is None else tuple(given),
            "flags": tuple(row.get("flags", ())),
        }
    )


def write_works(path: Path, works: Iterable[Work]) -> int:
    """Write works.jsonl, sorted by work_id, in one atomic step; returns the number of works."""
    ordered = sorted(works, key=lambda work: work.work_id)
    return _write_lines(path, "works", ordered)


def write_articles(path: Path, articles: Iterable[Article]) -> int:
    """Write articles.jsonl, sorted by article_id, as `write_works` does."""
    ordered = sorted(articles, key=lambda article: article.article_id)
    return _write_lines(path, "articles", ordered)


def _write_lines(path: Path, kind: str, items: Sequence[Work | Article]) -> int:
    return write_lines(path, kind, len(items), (json_line(work_to_dict(item)) for item in items))


def json_line(row: Mapping[str, Any]) -> str:
    """A row of `work_to_dict` as it stands in a file."""
    return json.dumps(row, ensure_ascii=False)


def write_lines(path: Path, kind: str, number: int, lines: Iterable[str]) -> int:
    """Write so many lines of `json_line`, in their order, holding one at a time."""
    head = {f"earscribe_{kind}": WORKS_VERSION, kind: number}
    with atomic_path(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        file.write(json.dumps(head) + "\n")
        file.writelines(f"{line}\n" for line in lines)
    return number


def read_works(path: Path) -> list[Work]:
    """Read works.jsonl.

    Raises UserError when it is missing or damaged, SchemaVersionError when of another version.
    """
    if not path.is_file():
        raise UserError(
            f"no works at {path}: run `earscribe crawl` first (or `earscribe import released`)"
        )
    head, *lines = path.read_text(encoding="utf-8").rstrip("\n").split("\n")
    try:
        version = json.loads(head)["earscribe_works"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not a works file: run `earscribe crawl` again") from error
    if version != WORKS_VERSION:
        raise SchemaVersionError(
            f"{path} has works version {version}, this program reads {WORKS_VERSION}: "
            "run `earscribe crawl` again"
        )
    works = []
    for number, line in enumerate(lines, start=2):
        try:
            works.append(work_from_dict(json.loads(line)))
        except (ValueError, KeyError, TypeError) as error:
            raise UserError(f"{path} line {number} is no work: {error!r}") from error
    return works
