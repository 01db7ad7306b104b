"""Where a movement lies in its source: times of the page, chapters, a list of times in prose."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from os.path import commonprefix
from typing import Any, NamedTuple, Protocol

from crawler.ledger import State
from dataset.clips import Span
from dataset.pairs import ErrorClass, stable_id
from dataset.sources import Chapter
from dataset.tags import name_terms
from dataset.timelists import ASIDES, NUMBER, SIGNS, WORK, chapters_in, is_music, title_number

SLACK_S = 1.0  # pages print whole seconds: an end this far beyond the file is its end
SEPARATORS = ":-–—|,"  # between what all titles share and what tells them apart
# A chapter's fit to a movement: its number decides, its name counts next, its place last.
NUMBERED, NAMED, PLACED = 4.0, 2.0, 0.5
FITS = 1.0  # less is no match
MOST_MOVEMENTS = 7  # of nearly every work; more chapters are those of several


class Asking(Protocol):
    """What is read of a pair: where it says that its clip lies, and of what it speaks."""

    @property
    def movements(self) -> Sequence[int]: ...
    @property
    def movement_name(self) -> str | None: ...
    @property
    def start_s(self) -> float | None: ...
    @property
    def end_s(self) -> float | None: ...
    @property
    def bounds_source(self) -> str: ...


class Request(NamedTuple):
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
    pair: Asking,
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


Bounds = tuple[float | None, float | None, str]


def bounds(pair: Asking, source: Mapping[str, Any]) -> Bounds | None:
    """(start, end, where they are from) in seconds; None when they are not known."""
    if pair.bounds_source != "unknown":
        return pair.start_s, pair.end_s, pair.bounds_source
    for how, chapters in (
        ("chapter", [Chapter(*one) for one in source["chapters"]]),
        ("description", chapters_in(source["description"], float(source["duration_s"]))),
    ):
        found = locate(chapters, pair.movements, pair.movement_name or "")
        if found is not None:
            return found.start_s, found.end_s, how
    return None


# ---------------------------------------------------------------- chapters and movements


def locate(chapters: Sequence[Chapter], movements: Sequence[int], name: str) -> Chapter | None:
    """The stretch of chapters that is `movements`, the first of which has this name.

    None when no chapter fits, when two fit equally, when its end cannot be told, or for no
    movement (a whole work): a wrong movement is worse than none.
    """
    if not chapters or not movements:
        return None
    chapters = without_prefix(chapters)
    first = best_fit(chapters, movements[0], name)
    last = first if first is None else ending(chapters, first, movements, name)
    if first is None or last is None:
        return None
    start_s, end_s = chapters[first].start_s, chapters[last].end_s
    if end_s is not None and end_s <= start_s:
        return None
    return Chapter(chapters[first].title, start_s, end_s)


def without_prefix(chapters: Sequence[Chapter]) -> Sequence[Chapter]:
    """The chapters without the name of the work where it stands before every title."""
    titles = [chapter.title for chapter in chapters]
    shared = commonprefix(titles)  # noqa: RUF071
    cut = max(shared.rfind(sign) for sign in SEPARATORS) + 1
    if len(chapters) < 2 or not cut:
        return chapters
    return [replace(chapter, title=chapter.title[cut:].strip(SIGNS)) for chapter in chapters]


def best_fit(chapters: Sequence[Chapter], movement: int, name: str) -> int | None:
    """The index of the one chapter that a movement begins with."""
    several = several_works(chapters)
    fits, place = [], 0  # among the titles of music
    for chapter in chapters:
        aside = ASIDES.search(chapter.title) is not None
        place += not aside
        placed = place == movement and not several
        fits.append(0.0 if aside else fit(chapter, placed, movement, name))
    best = max(fits)
    if best < FITS or fits.count(best) > 1:
        return None
    first = fits.index(best)
    return None if is_doubtful(chapters, first, name, several) else first


def is_doubtful(chapters: Sequence[Chapter], first: int, name: str, several: bool) -> bool:
    """Whether a chapter may be of another movement than the one of this name.

    It is when it has another name that another chapter has. Of several works' chapters one must
    have the name, and none of the same number a word of it, unless all of two words agree.
    """
    own, title = set(name_terms(name)), set(name_terms(chapters[first].title))
    number = title_number(chapters[first].title)
    others = [one for at, one in enumerate(chapters) if at != first]
    rivals = [one for one in others if not several or title_number(one.title) == number]
    rivalled = any(own & set(name_terms(one.title)) for one in rivals)
    if several:
        return not own & title or (rivalled and (own != title or len(own) < 2))
    return bool(own and not own & title and title - {"finale"} and rivalled)


def several_works(chapters: Sequence[Chapter]) -> bool:
    """Whether chapters seem to be of several works.

    Numbers begin again, there are two opus numbers, or more chapters than a work has movements.
    """
    numbers = [n for chapter in chapters if (n := title_number(chapter.title)) is not None]
    named = {found for chapter in chapters if (found := work_words(chapter.title))}
    music = [chapter for chapter in chapters if not ASIDES.search(chapter.title)]
    again = any(b < a for a, b in pairwise(numbers))
    many = len(set(numbers) or music) > MOST_MOVEMENTS
    return again or many or len(named) > 1


def work_words(text: str) -> tuple[str, ...]:
    """What names a work in a title: ("Quartet", "Op. 76", "No. 3") in lower case."""
    label = NUMBER.match(text)
    return tuple(match[0].lower() for match in WORK.finditer(text, label.end() if label else 0))


def ending(
    chapters: Sequence[Chapter], first: int, movements: Sequence[int], name: str
) -> int | None:
    """The index of the last chapter of movements that begin with `first`.

    Where chapters have numbers these tell; chapters without one go on with the movement before
    if they sound like music.
    """
    numbers = [title_number(chapter.title) for chapter in chapters]
    if numbers[first] is None and len(movements) == 1:
        return last_section(chapters, first, name)
    if numbers[first] is None:
        last = first + movements[-1] - movements[0]
        return last if last < len(chapters) and not any(numbers[first : last + 1]) else None
    last, reached = first, movements[0]
    for at in range(first + 1, len(chapters)):
        number = numbers[at]
        if number is None:
            if not goes_on(chapters[at].title, reached + 1 in numbers[at:]):
                break
        elif number < reached or number == movements[-1] + 1:  # another work or movement begins
            break
        elif number > reached + 1:  # what lies between is not told
            return None
        else:
            reached = number
        last = at
    return last if reached == movements[-1] else None


def last_section(chapters: Sequence[Chapter], first: int, name: str) -> int:
    """The last of the chapters that only together have the words of a movement's name."""
    own, last = set(name_terms(name)), first
    while not own <= {word for one in chapters[first : last + 1] for word in name_terms(one.title)}:
        words = {word for one in chapters[last + 1 : last + 2] for word in name_terms(one.title)}
        if not words or not words <= own:
            break
        last += 1
    return last


def goes_on(title: str, between: bool) -> bool:
    """Whether a chapter without a number belongs to the movement before it.

    `between` when numbers follow; behind the last movement only what sounds like music does.
    """
    return not (ASIDES.search(title) or WORK.search(title)) and (between or is_music(title))


def fit(chapter: Chapter, placed: bool, movement: int, name: str) -> float:
    """How well a chapter fits a movement; `placed` when it stands where the movement would."""
    number = title_number(chapter.title)
    total = PLACED if placed else 0.0
    if number is not None:
        total += NUMBERED if number == movement else -NUMBERED
    own, other = set(name_terms(name)), set(name_terms(chapter.title))
    return total + (NAMED * len(own & other) / len(own | other) if own | other else 0.0)
