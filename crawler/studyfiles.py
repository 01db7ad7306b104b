"""The three files of the 2022 study, read tolerantly into strict records that keep what was odd."""

import json
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from crawler import grammar
from crawler.errors import UserError
from crawler.grammar import ROMAN, seconds
from crawler.records import RecordError, csv_lines, json_lines, number, sound, string
from crawler.urls import slug

TEXTS_NAMES = ("music_text_pairs.jsonl", "music_text_pairs_sent_len_split.jsonl")
VIDEOS_NAMES = ("videos_info.json", "videos_info_updated.json")
ADDED_NAMES = ("video_add.csv",)

VIDEO_ID = re.compile(r"([\w-]{11})(\d{0,2})", re.ASCII)
MAX_MOVEMENT = 99
TWICE = "its work stands there already, perhaps under another spelling of the key"
PREFIX = re.compile(r"\s*(\d+)\s*[.,)]+\s*")
TIME = re.compile(r"[\[(]?\s*(?<![\d:])((?:\d{1,2}:)?\d{1,2}:\d{2})(?![\d:])\s*[\])]?")
RANGE = re.compile(rf"({TIME.pattern})\s*[-–]\s*{TIME.pattern}")  # begin - end
LABEL = re.compile(
    r"(?:#?(?P<digits>\d{1,2})(?:st|nd|rd|th)?(?:\.(?=\S)|\b[.:)]?)(?:\s*movement\b[.:]?)?"
    r"|(?:Mov(?:ement|t)?\b\.?\s*)?(?P<roman>[IVX]+)\b[.:]?"
    r"|Movement\s+(?P<word>\w+)\s*:)\s*",
    re.IGNORECASE,
)
QUALIFIER = re.compile(
    r"(?P<rest>.*?)\s*\((?P<word>live|(?:with )?score|animation|\?)\)", re.IGNORECASE
)
WORDS = "one two three four five six seven eight nine ten eleven twelve".split()

# What reading a record can raise.
BROKEN = (ValueError, KeyError, RecursionError, UserError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One stretch of a video, as the study recorded it."""

    work_id: str
    video_id: str  # as given
    youtube_id: str  # its first 11 characters
    movement: int | None  # 1-based; 0 = the complete work; None = not said
    start_s: float | None  # None = the beginning of the video
    end_s: float | None  # None = to the end
    duration_s: float | None
    performers: tuple[str, ...]
    qualifiers: tuple[str, ...]  # in lower case: "live", "with score"
    name: str
    following: str | None  # video_id of the next stretch; None = last
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class StudyText:
    """One text with the movement that the study gave it."""

    work_id: str
    sent_id: str
    movement: int  # 1-based
    text: str  # without the number that the study put before it
    number: int | None  # that number; None = there is none
    raw: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of a movement list typed by hand."""

    text: str  # as typed
    name: str  # without label and time
    start_s: float | None  # None = no time
    form: str  # of the time: "leading", "trailing", "round", "square", "range", "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """A work added by hand: one video and its movement list."""

    work_id: str
    url: str
    lines: tuple[Line, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refused:
    """A record that could not be read."""

    file: str
    record: str  # its line or key
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """Everything that the three files say."""

    texts: tuple[StudyText, ...]
    videos: Mapping[str, tuple[Entry, ...]]  # work_id -> stretches in their order
    added: Mapping[str, Added]
    refused: tuple[Refused, ...]


def movement_names(study: Study, work_id: str) -> dict[int, str]:
    """Names of a work's movements; the study cut " - " out of the typed ones: those are reread."""
    entries = study.videos.get(work_id, ())
    names = {one.movement: bare_name(one.name) for one in entries if one.movement}
    typed = study.added[work_id].lines if work_id in study.added else ()
    return names | {number: line.name for number, line in enumerate(typed, start=1)}


def bare_name(name: str) -> str:
    """A movement's name without its numeral: "II. Adagio" -> "Adagio"."""
    line = grammar.movement(name)
    return line.name if line else name


def read_study(folder: Path) -> Study:
    """Read the study's files; UserError when one is missing or cannot be read at all."""
    refused: list[Refused] = []
    texts = tuple(_texts(_find(folder, TEXTS_NAMES), refused))
    videos = dict(_videos(_find(folder, VIDEOS_NAMES), refused))
    for text in texts:  # the texts repeat the stretch they were paired with
        info = text.raw.get("music_info")
        if text.work_id not in videos and isinstance(info, Mapping):
            videos[text.work_id] = tuple(_entries(text.work_id, [info], "music_info", refused))
    added: dict[str, Added] = {}
    path = _find(folder, ADDED_NAMES)
    known = videos.keys() | {text.work_id for text in texts}
    for one in _added(path, refused):
        why = TWICE if one.work_id in added else "neither a video nor a text is of this work"
        if one.work_id in added or one.work_id not in known:
            refused.append(Refused(file=path.name, record=one.work_id, reason=why))
        else:
            added[one.work_id] = one
    return Study(texts=texts, videos=videos, added=added, refused=tuple(refused))


def _find(folder: Path, names: Sequence[str]) -> Path:
    found = [folder / name for name in names if (folder / name).is_file()]
    if len(found) > 1:
        raise UserError(f"{folder} holds both {' and '.join(names)}: keep one of them")
    if not found:
        raise UserError(
            f"{folder} holds no {' or '.join(names)}: give the folder of the study's three files"
        )
    return found[0]


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read {path}: {error}") from error


# ---------------------------------------------------------------- texts


def _texts(path: Path, refused: list[Refused]) -> Iterator[StudyText]:
    for line, row in json_lines(path):
        try:
            if row is None:
                raise RecordError("it is no JSON object in UTF-8")
            yield read_text(row)
        except BROKEN as error:
            refused.append(Refused(file=path.name, record=f"line {line}", reason=_why(error)))


def _why(error: Exception) -> str:
    return f"it lacks {error}" if isinstance(error, KeyError) else str(error)


def read_text(row: Mapping[str, Any]) -> StudyText:
    """A text from one line of the JSONL file; an error of what is wrong with it."""
    body = sound(string(row, "sent_text"))
    prefix = PREFIX.match(body)
    text = " ".join((body[prefix.end() :] if prefix else body).split())
    movement = movement_number(row, "sent_idx")
    if not movement:
        raise RecordError(f"sent_idx {row['sent_idx']!r} is no movement")
    if not text:
        raise RecordError("the text is empty")
    return StudyText(
        work_id=slug(string(row, "music_id")),
        sent_id=sound(row["sent_id"]),
        movement=movement,
        text=text,
        number=int(prefix[1]) if prefix else None,
        raw=row,
    )


def movement_number(row: Mapping[str, Any], name: str) -> int | None:
    """The number of a movement, 0 for the complete work; None for null and empty text."""
    try:
        found = number(row, name)
    except RecordError:
        found = -1.0
    if found is None:
        return None
    if found not in range(MAX_MOVEMENT + 1) or ":" in str(row[name]):
        raise RecordError(f"{name} {row[name]!r} is no movement")
    return int(found)


# ---------------------------------------------------------------- videos


def _videos(path: Path, refused: list[Refused]) -> Iterator[tuple[str, tuple[Entry, ...]]]:
    try:
        table = json.loads(_read(path))
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path} is not JSON: {error}") from error
    if not isinstance(table, dict):
        raise UserError(f"{path} is no JSON object of works")
    seen = set()
    for name, rows in table.items():
        try:
            work_id = slug(name)
            if work_id in seen:
                raise RecordError(TWICE)
        except (UserError, ValueError) as error:
            refused.append(Refused(file=path.name, record=name, reason=str(error)))
            continue
        seen.add(work_id)
        yield work_id, tuple(_entries(work_id, rows, path.name, refused))


def _entries(work_id: str, rows: Any, file: str, refused: list[Refused]) -> Iterator[Entry]:
    for place, row in enumerate(rows if isinstance(rows, list) else [rows], start=1):
        try:
            if not isinstance(row, dict):
                raise RecordError("it is no JSON object")
            yield read_entry(work_id, row)
        except BROKEN as error:
            record = f"{work_id} entry {place}"
            refused.append(Refused(file=file, record=record, reason=_why(error)))


def read_entry(work_id: str, row: Mapping[str, Any]) -> Entry:
    """A stretch from one object of the JSON file; an error of what is wrong with it."""
    match = VIDEO_ID.fullmatch(str(row["video_id"]))
    if match is None:
        raise RecordError(f"{row['video_id']!r} is no YouTube id with a movement's number")
    start_s, end_s, duration_s = _interval(row)
    movement_id = movement_number(row, "movement_id")
    if movement_id is not None and match[2] and movement_id != int(match[2]):
        raise RecordError(f"video_id {match[0]!r} is not of movement {movement_id}")
    players, qualifiers = performers(sound(string(row, "title")))
    return Entry(
        work_id=work_id,
        video_id=match[0],
        youtube_id=match[1],
        movement=movement_id,
        start_s=start_s,
        end_s=end_s,
        duration_s=duration_s,
        performers=players,
        qualifiers=qualifiers,
        name=sound(string(row, "name")).strip(),
        following=None if row["next_video"] in (0, "0", "", None) else str(row["next_video"]),
        raw=row,
    )


def performers(title: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and qualifiers of "A Quartet, B (live)"."""
    qualifiers: list[str] = []
    rest = title.strip()
    while match := QUALIFIER.fullmatch(rest):
        qualifiers.insert(0, match["word"].lower())
        rest = match["rest"]
    return tuple(name.strip() for name in rest.split(",") if name.strip()), tuple(qualifiers)


def _interval(row: Mapping[str, Any]) -> tuple[float | None, float | None, float | None]:
    """(start, end, duration) in seconds; an end of 0 is open, unless the duration gives it."""
    start_s, given_s = number(row, "start") or 0.0, number(row, "end") or 0.0
    duration_s = number(row, "duration") or None
    if (duration_s or 0.0) < 0:
        raise RecordError(f"duration {row['duration']!r} is below 0")
    end_s = given_s or (start_s + duration_s if start_s and duration_s else None)
    if not 0 <= start_s < (math.inf if end_s is None else end_s):
        raise RecordError(f"the interval from {start_s:g} s to {given_s:g} s is empty")
    return (start_s if start_s or end_s else None), end_s, duration_s


# ---------------------------------------------------------------- works added by hand


def _added(path: Path, refused: list[Refused]) -> Iterator[Added]:
    for row in csv_lines(path, _read(path)):
        try:
            if len(row) != 3:
                raise RecordError(f"{len(row)} cells instead of 3")
            name, url, listed = row
            lines = tuple(read_line(line) for line in listed.splitlines() if line.strip())
            yield Added(work_id=slug(name), url=url, lines=lines)
        except (ValueError, UserError) as error:
            refused.append(Refused(file=path.name, record=row[0], reason=str(error)))


def read_line(text: str) -> Line:
    """A typed movement line: label, name and time in any of the orders people use."""
    line = " ".join(text.split())
    span, time = RANGE.search(line), TIME.search(line)
    whole = span or time
    rest = line if whole is None else f"{line[: whole.start()]} {line[whole.end() :]}"
    rest = rest.strip(" -–—:|")
    label = LABEL.match(rest)
    name = rest[label.end() :] if label and _is_number(label) else rest
    return Line(
        text=text,
        name=name.strip(" -–—:|"),
        start_s=None if time is None else float(seconds(time[1]) or 0),
        form=_form(line, span, time),
    )


def _is_number(label: re.Match[str]) -> bool:
    roman, word = label["roman"], label["word"]
    return bool(label["digits"] or (roman and roman in ROMAN) or (word and word.lower() in WORDS))


def _form(line: str, span: re.Match[str] | None, time: re.Match[str] | None) -> str:
    if span or time is None:
        return "range" if span else "none"
    sign = time[0][0]
    if sign in "[(":
        return "square" if sign == "[" else "round"
    return "leading" if time.start() == 0 else "trailing"
