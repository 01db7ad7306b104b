"""Where a movement lies in its source: times of the page, chapters, a list of times in prose."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from crawler.ledger import State
from dataset.audio import Span
from dataset.captions import name_terms
from dataset.schema import ErrorClass, Pair, stable_id
from dataset.sources import Chapter

SLACK_S = 1.0  # pages print whole seconds: an end this far beyond the file is its end
ROMAN = {"I": 1, "V": 5, "X": 10}
NUMBER = re.compile(
    r"^\W*(?:(?i:movement|movt?|mvt|no)\b\.?\s*)?"
    r"(?:(?P<digits>\d{1,2})(?:st|nd|rd|th)?|(?P<roman>[IVX]{1,5}))(?![\w’'])"
)
TIME_LINE = re.compile(
    r"^(?P<before>.*?)[(\[]?\s*(?<![\d:])(?P<time>(?:\d{1,2}:)?\d{1,2}:\d{2})(?![\d:])"
    r"\s*[)\]]?(?P<after>.*)$"
)
# A chapter's fit to a movement: its number decides, its name counts next, its place last.
NUMBERED, NAMED, PLACED = 4.0, 2.0, 0.5
FITS = 1.0  # less is no match


@dataclass(frozen=True, slots=True)
class Request:
    """A clip that a pair asks for."""

    item: str  # its key in the ledger's stage "cut"
    span: Span
    start_s: float | None  # as asked; both go into the index
    end_s: float | None
    bounds_source: str


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a pair gets no clip from a source that is there."""

    state: State
    reason: str  # an ErrorClass when failed, a filter's reason when filtered
    message: str | None = None


def request_clip(
    pair: Pair,
    source_key: str,
    source: Mapping[str, Any],
    limits_s: tuple[float, float],
    fingerprint: str,
) -> Request | Refusal:
    """The clip of a pair in a fetched source, or why there is none.

    `source` is the ledger's result for the source: duration_s, chapters as (title, start, end),
    description. Clips outside of `limits_s` (shortest, longest) are filtered.
    """
    found = bounds(pair, source)
    if found is None:
        message = "unknown bounds: neither a chapter nor a time in the description fits"
        return Refusal(State.FAILED, ErrorClass.BAD_BOUNDS, message)
    start_s, end_s, bounds_source = found
    duration_s = float(source["duration_s"])
    low_s = start_s or 0.0
    high_s = duration_s if end_s is None else end_s
    if low_s < 0 or high_s <= low_s or low_s >= duration_s or high_s > duration_s + SLACK_S:
        message = f"{start_s} s to {end_s} s in a source of {duration_s:.3f} s"
        return Refusal(State.FAILED, ErrorClass.BAD_BOUNDS, message)
    length_s = min(high_s, duration_s) - low_s
    if not limits_s[0] <= length_s <= limits_s[1]:
        return Refusal(State.FILTERED, "too_short" if length_s < limits_s[0] else "too_long")
    span = Span(low_s, None if high_s >= duration_s else end_s)
    item = clip_item(source_key, pair.movements, start_s, end_s, fingerprint)
    return Request(item, span, start_s, end_s, bounds_source)


def clip_item(
    source_key: str,
    movements: Sequence[int],
    start_s: float | None,
    end_s: float | None,
    fingerprint: str,
) -> str:
    """The key of a clip in the ledger's stage "cut", from its bounds as asked."""
    return stable_id(source_key, list(movements), start_s, end_s, fingerprint)


def bounds(pair: Pair, source: Mapping[str, Any]) -> tuple[float | None, float | None, str] | None:
    """(start, end, where they are from) in seconds; None when they are not known."""
    if pair.bounds_source != "unknown":
        return pair.start_s, pair.end_s, pair.bounds_source
    for how, chapters in (
        ("chapter", [Chapter(*one) for one in source["chapters"]]),
        ("description", list(chapters_in(source["description"]))),
    ):
        found = locate(chapters, pair.movements, pair.movement_name or "")
        if found is not None:
            return found.start_s, found.end_s, how
    return None


def locate(chapters: Sequence[Chapter], movements: Sequence[int], name: str) -> Chapter | None:
    """The stretch of chapters that is `movements`, the first of which has this name.

    None when no chapter fits, when the chapters end before the last movement, or for no movement
    (a whole work).
    """
    if not movements:
        return None
    fits = [fit(chapter, place, movements[0], name) for place, chapter in enumerate(chapters, 1)]
    if not fits or max(fits) < FITS:
        return None
    first = fits.index(max(fits))
    last = first + movements[-1] - movements[0]
    if last >= len(chapters):
        return None
    return Chapter(chapters[first].title, chapters[first].start_s, chapters[last].end_s)


def fit(chapter: Chapter, place: int, movement: int, name: str) -> float:
    """How well a chapter fits a movement."""
    number = title_number(chapter.title)
    total = PLACED if place == movement else 0.0
    if number is not None:
        total += NUMBERED if number == movement else -NUMBERED
    own, other = set(name_terms(name)), set(name_terms(chapter.title))
    return total + (NAMED * len(own & other) / len(own | other) if own | other else 0.0)


def title_number(title: str) -> int | None:
    """The number at the beginning of a title: "II. Andante", "2 - Andante", "Mov. 2"."""
    match = NUMBER.match(title)
    if match is None:
        return None
    if match["digits"]:
        return int(match["digits"])
    values = [ROMAN[sign] for sign in match["roman"]]
    following = [*values[1:], 0]
    return sum(-v if v < after else v for v, after in zip(values, following, strict=True))


def chapters_in(description: str) -> tuple[Chapter, ...]:
    """The chapters of a list of times ("0:00 I. Allegro") in prose; () unless two times rise."""
    found: list[tuple[float, str]] = []
    for line in description.splitlines():
        match = TIME_LINE.match(line)
        if match:
            title = f"{match['before']} {match['after']}".strip(" -–—:|\t")
            found.append((seconds_of(match["time"]), title))
    starts = [start for start, _ in found]
    if len(found) < 2 or starts != sorted(set(starts)):
        return ()
    ends = [*starts[1:], None]
    return tuple(Chapter(title, at, end) for (at, title), end in zip(found, ends, strict=True))


def seconds_of(clock: str) -> float:
    """Seconds of "m:ss" or "h:mm:ss"."""
    total = 0
    for part in clock.split(":"):
        total = total * 60 + int(part)
    return float(total)
