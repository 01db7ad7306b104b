"""Playlist rows and the videos they hand to the player -> recordings."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import pairwise

from crawler.grammar import (
    COUNT,
    KEPT,
    LEADING_TIME,
    NUMERALS,
    PART,
    ROMAN,
    Labels,
    Lines,
    is_control,
    movement,
    seconds,
)
from crawler.items import Part, Recording
from crawler.references import Reference, unique

# Where no white space parts a time, names and a numeral: "8:30A TrioI. Allegro".
TIME_GLUED = re.compile(r"[\[(]?\d{1,2}(?::\d\d)+[\])]?(?=[^\W\d_])")
NUMERAL_GLUED = re.compile(r"[IVXL](?<=[a-z)\u00df-\u024f].)[IVXL]{0,5}\.(?: |$)")
OUTER_COMMA = re.compile(r",(?![^()]*\))")  # not within parentheses


@dataclass(frozen=True, slots=True)
class Row:
    """One playlist row: its time and the lines beside it (performers, movement)."""

    duration_s: float | None
    lines: tuple[str, ...]


def row(lines: Lines, labels: Labels) -> Row:
    """A playlist row whose lines are known to belong together."""
    return _row(_row_pieces(lines, labels))


def _row(pieces: Lines) -> Row:
    times = [second for piece in pieces if (second := seconds(piece)) is not None]
    return Row(float(times[0]) if times else None, _texts(pieces))


def rows(lines: Lines, labels: Labels, expected: int) -> list[Row]:
    """Playlist rows from running lines: a time begins one, where each of `expected` has a time."""
    pieces = _row_pieces(lines, labels)
    if sum(seconds(piece) is not None for piece in pieces) == expected:
        groups = _timed(pieces)
    else:
        groups = _untimed(pieces, names_below=False)
        if len(groups) != expected:
            groups = _untimed(pieces, names_below=True)
    return [_row(group) for group in groups]


def _row_pieces(lines: Lines, labels: Labels) -> list[str]:
    """The lines without counts and controls, a leading time as a piece of its own."""
    pieces: list[str] = []
    for line in (piece for glued in lines for piece in _unglued(glued)):
        if line[0] in "0123456789[(" and (match := LEADING_TIME.fullmatch(line)):
            pieces += [piece for piece in match.groups() if piece]
        elif not COUNT.match(line) and not is_control(line, labels):
            pieces.append(line)
    return pieces


def _unglued(line: str) -> list[str]:
    time, numeral = TIME_GLUED.match(line), NUMERAL_GLUED.search(line)
    if not (time or numeral):
        return [line]
    cuts = [0, *([time.end()] if time else []), *([numeral.start()] if numeral else []), len(line)]
    return [line[begin:end] for begin, end in pairwise(cuts)]


def _texts(pieces: Lines) -> tuple[str, ...]:
    """The lines of a row without times, a numeral joined with the name below it."""
    texts: list[str] = []
    for piece in pieces:
        if seconds(piece) is not None:
            continue
        if texts and _is_numeral(texts[-1]) and not PART.fullmatch(piece):
            texts[-1] += f" {piece}"
        else:
            texts.append(piece)
    return tuple(texts)


def _is_numeral(text: str) -> bool:
    return text.endswith(".") and text[:-1] in ROMAN and len(text) > 1


def _timed(pieces: Lines) -> list[list[str]]:
    groups: list[list[str]] = []
    for piece in pieces:
        if seconds(piece) is not None:
            groups.append([])
        if groups:
            groups[-1].append(piece)
    return groups


def _untimed(pieces: Lines, *, names_below: bool) -> list[list[str]]:
    """Rows where not each has a time: names, then perhaps a movement, begin a row."""
    groups: list[list[str]] = []
    for piece in pieces:
        texts = [item for item in groups[-1] if seconds(item) is None] if groups else []
        second = bool(movement(piece) or PART.fullmatch(piece))
        below = names_below and len(texts) == 2 and _is_numeral(texts[1])
        fits = bool(groups) and (not texts or (len(texts) == 1 and second) or below)
        if seconds(piece) is not None or not fits:
            groups.append([])
        groups[-1].append(piece)
    return groups


@lru_cache(maxsize=KEPT)
def performers(line: str, known: tuple[str, ...]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and qualifiers of 'A Quartet, B (violin) (live)'; `known` may be qualifiers."""
    qualifiers: list[str] = []
    while line.endswith(")"):
        head, _, inside = line[:-1].rpartition("(")
        told = [word.strip().casefold() for word in inside.split(",")]
        if not set(told) <= set(known):
            break
        line = head.rstrip()
        qualifiers[:0] = told
    names = OUTER_COMMA.split(line) if "(" in line else line.split(",")
    return tuple(name.strip() for name in names if name.strip()), tuple(qualifiers)


def paired(rows: Sequence[Row], refs: Sequence[Reference]) -> list[tuple[Reference, Row]]:
    """Each video with its row, by their order; empty when they are not as many."""
    once = unique(refs)
    if len(rows) == len(once):
        return list(zip(once, rows, strict=True))
    if len(rows) != len(refs):
        return []
    found = dict(zip((ref.key for ref in reversed(refs)), reversed(rows), strict=True))
    return [(ref, found[ref.key]) for ref in once]


@dataclass(frozen=True, slots=True)
class Video:
    """A playlist row with its reference."""

    reference: Reference
    duration_s: float | None
    performers: tuple[str, ...]
    qualifiers: tuple[str, ...]
    movement: int | None
    name: str

    @classmethod
    def read(cls, reference: Reference, row: Row, labels: Labels) -> "Video":
        who, name = _row_texts(row.lines, reference.movement)
        names, qualifiers = performers(who, labels.qualifiers)
        item = movement(name)
        number = reference.movement
        if number is None and item:
            number = item.number
        title = item.name if item else name
        return cls(reference, row.duration_s, names, qualifiers, number, title)

    def part(self, video_url: str) -> Part:
        ref = self.reference
        told = ref.movement is None and self.movement  # by the row, so that the id is without it
        return Part(
            video_id=f"{ref.video_id}{self.movement}" if told else ref.video_id,
            youtube_id=ref.youtube_id,
            url=video_url.replace("{id}", ref.youtube_id),
            movement=self.movement,
            start_s=ref.start_s,
            end_s=ref.end_s,
            duration_s=self.duration_s,
            name=self.name,
        )

    def follows(self, last: "Video") -> bool:
        """Whether this is the next part of the recording that `last` belongs to."""
        if last.reference.following is not None:
            return last.reference.following in (
                self.reference.video_id,
                self.reference.youtube_id,
            )
        return self.beside(last) and (self.movement or 0) > (last.movement or 0) > 0

    def beside(self, last: "Video") -> bool:
        """Whether the same people play, in a movement."""
        same = (self.performers, self.qualifiers) == (last.performers, last.qualifiers)
        return same and bool(self.movement and last.movement)


def _row_texts(lines: Lines, number: int | None) -> tuple[str, str]:
    """The performers and the movement's line of a row, "" for what it does not say."""
    if len(lines) > 1:
        named = [line for line in lines[1:] if movement(line) or PART.match(line)]
        return lines[0], named[0] if named else lines[1] if number else ""
    text = lines[0] if lines else ""
    if not number:
        return text, ""
    if movement(text):
        return "", text
    who, numeral, name = text.partition(f" {NUMERALS.get(number)}. ")
    return who, f"{numeral}{name}".strip()


def recordings(
    pairs: Sequence[tuple[Reference, Row]], video_url: str, labels: Labels, expected: int | None
) -> tuple[Recording, ...]:
    """Group rows by the chain of next videos, else by performers and numerals.

    Where nothing chains them and the numerals do not give as many recordings as the page counts,
    the performers alone may: a site that labels every row "I." is known.
    """
    videos = [Video.read(reference, row, labels) for reference, row in pairs]
    groups = _runs(videos, Video.follows)
    if len(groups) != expected and all(video.reference.following is None for video in videos):
        beside = _runs(videos, Video.beside)
        groups = beside if len(beside) == expected else groups
    return tuple(_recording(members, video_url) for members in groups)


def _recording(members: Sequence[Video], video_url: str) -> Recording:
    parts = tuple(video.part(video_url) for video in members)
    return Recording(
        recording_id=parts[0].video_id,
        performers=members[0].performers,
        qualifiers=members[0].qualifiers,
        parts=parts,
    )


def _runs(videos: Sequence[Video], belongs: Callable[[Video, Video], bool]) -> list[list[Video]]:
    groups: list[list[Video]] = []
    for video in videos:
        if not groups or not belongs(video, groups[-1][-1]):
            groups.append([])
        groups[-1].append(video)
    return groups
