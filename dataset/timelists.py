"""A list of times among prose -> chapters; what the title of a chapter says."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate, pairwise

from crawler.grammar import ROMAN
from dataset.sources import Chapter
from dataset.tags import TERMS, term

PAUSE_S = 3.0  # between two movements, with the rounding of both their lengths
INTRO_S = 120.0  # a first movement that begins later is hardly a start: perhaps it is a length
MOST_WORDS = 14  # of a title; a longer line is prose

ORDINALS = "first second third fourth fifth sixth seventh eighth ninth tenth".split()
CARDINALS = "one two three four five six seven eight nine ten".split()
WORDS = {word: n for words in (ORDINALS, CARDINALS) for n, word in enumerate(words, start=1)}
KIND = r"(?i:movement|movt|mov|mvt|mvmt|satz|no|nr|track)"
NUMBER = re.compile(
    rf"\W*(?:{KIND}\b\.?\s*#?)?(?:"
    r"(?P<digits>[0-9]{1,2})(?:st|nd|rd|th|\.?º|°)?(?![\w’':])"
    r"|(?P<roman>[IVX]{1,5})(?=\s*[.:)\]–—-]|\s*$|\s+[^a-z\s])(?![’'])"
    rf"|(?P<word>(?i:{'|'.join(ORDINALS)}))\s+{KIND}\b"
    rf"|(?<=ement )(?P<cardinal>(?i:{'|'.join(CARDINALS)}))\b"
    rf")(?:\s*{KIND}\b)?"
)
CLOCK = r"(?<![0-9])(?<![0-9][:.,/])(?:[0-9]{1,2}:)?[0-9]{1,3}:[0-5][0-9](?![\d:])"
TIME = re.compile(  # perhaps in brackets, perhaps from - to
    rf"[(\[{{]? ?(?P<from>{CLOCK})(?: ?(?:[-‐-―−~]|to) ?(?P<to>{CLOCK}))? ?[)\]}}]?"
)
MARKS = re.compile(r"(?<![0-9])([0-9]{1,3})['’′] ?([0-5][0-9])(?:[\"”″]|['’′]{2})")  # 7'31"
OF_DAY = re.compile(  # what follows a time of the day
    r" ?(?:[ap]\.?m\b|noon|midnight|uhr|h\b|hrs?\b|o['’]clock|hours|GMT|UTC|CES?T|E[SD]?T\b)",
    re.IGNORECASE,
)
IN_PROSE = re.compile(  # what stands before a time that is spoken of
    r"\b(?:at|from|until|till|by|around|about|before|after|since|between|and|in|of|is|lasts|runs|"
    r"um|ab|bis|gegen|nach|vers|alle|dalle|de|des|durée|dauer)$",
    re.IGNORECASE,
)
TOTAL = re.compile(
    r"\W*(?:total|duration|length|playing time|running time|timing|time:|complete|recorded|"
    r"published|uploaded|premi[eè]re|gesamt|spieldauer|dauer|durée|durata)",
    re.IGNORECASE,
)
ASIDES = re.compile(  # titles of what is no movement
    r"\b(?:intro|applause|tuning|talk|interview|speech|spoken|pause|break|interval|intermission|"
    r"encore|credits|outro|welcome|announcement|applaus|beifall|applaudissements|applausi)\b",
    re.IGNORECASE,
)
WORK = re.compile(
    r"\b(?:Op(?:us)?|KV?|Hob|BWV|WoO|D|B|G|Sz)\b\.? ?[0-9]+|\bNo\.? ?[0-9]+"
    r"|\b(?:quartet|quintet|sextet|septet|octet|nonet|sonata|serenade|divertimento|symphony|"
    r"concerto)t?[oet]?\b",
    re.IGNORECASE,
)
YEAR = re.compile(r"\b(?:1[5-9]|20)[0-9]{2}\b")
SIGNS = " -‐‑‒–—―:|,;•*·>=_~\t"  # between a time and a title


def title_number(title: str) -> int | None:
    """The number at the beginning of a title: "II. Andante", "2 - Andante", "Movement Two:"."""
    match = NUMBER.match(title)
    if match is None:
        return None
    if match["digits"]:
        return int(match["digits"])
    if match["roman"]:
        return ROMAN.get(match["roman"])
    return WORDS[(match["word"] or match["cardinal"]).lower()]


def is_music(title: str) -> bool:
    """Whether a title has a movement's number or a word of tempo or form, and is no aside."""
    words = (term(word) for word in re.findall(r"[^\W\d_]+", title))
    named = any(word in TERMS or word == "coda" for word in words)
    return not ASIDES.search(title) and (named or title_number(title) is not None)


# ---------------------------------------------------------------- the list


@dataclass(frozen=True, slots=True)
class Listed:
    """One entry of a list of times."""

    title: str
    at_s: float  # where it begins, or how long it lasts
    end_s: float | None = None  # as the list says it


def chapters_in(description: str, duration_s: float | None = None) -> tuple[Chapter, ...]:
    """The chapters of a list of times ("0:00 I. Allegro") among prose.

    Starts rise. A list of lengths is added up where that gives the duration of the file. () when
    there is no list of two entries or more, or none that can be trusted.
    """
    lines = [" ".join(line.split()) for line in description.splitlines()]
    entries = [(place, entry) for place, line in enumerate(lines) for entry in entries_of(line)]
    if len(entries) < 2 or names_works_between(lines, entries):
        return ()
    listed = [entry for _, entry in entries]
    timed = with_missing_first(lines, entries)
    return next(
        filter(
            None,
            (
                as_lengths(listed, duration_s),
                as_lengths(musical(listed), duration_s),
                as_starts(timed, duration_s),
                as_starts(musical(timed), duration_s),
            ),
        ),
        (),
    )


def musical(listed: Sequence[Listed]) -> list[Listed]:
    """The entries that are surely of music."""
    return [entry for entry in listed if is_music(entry.title)]


def entries_of(line: str) -> list[Listed]:
    """The entries of one line: a time before or behind each title; [] for prose."""
    line = MARKS.sub(r"\1:\2", line)
    times = [match for match in TIME.finditer(line) if not OF_DAY.match(line, match.end())]
    if not times or TOTAL.match(line):
        return []
    before, *between, after = pieces_between(line, times)
    if len(times) == 2 and (not between[0] or not (before or after)):  # the second tells the length
        before, after, times = before, between[0] or after, times[:1]
    if len(times) == 1:
        titles = [f"{before} {after}".strip()] if is_entry(before, after) else []
    elif after:  # leading times, perhaps behind a heading
        titles = [] if is_music(before) else [*between, after]
    else:
        titles = [before, *between]
    if len(times) > 1 and not all(titles):
        return []
    return [
        Listed(title, seconds_of(time["from"]), seconds_of(time["to"]) if time["to"] else None)
        for title, time in zip(titles, times, strict=bool(titles))
    ]


def pieces_between(line: str, times: Sequence[re.Match[str]]) -> list[str]:
    """What stands before, between and behind the times of a line."""
    edges = [0, *(edge for match in times for edge in match.span()), len(line)]
    return [line[a:b].strip(SIGNS) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def is_entry(before: str, after: str) -> bool:
    """Whether a line with one time between these is an entry rather than prose."""
    title = f"{before} {after}".strip()
    if len(title.split()) > MOST_WORDS or IN_PROSE.search(before):
        return False
    if YEAR.search(title) and not is_music(title):
        return False
    label = NUMBER.match(before)
    only_label = label is not None and not re.search(r"\w", before[label.end() :])
    return not (before and after) or only_label or is_music(before)


def names_works_between(lines: Sequence[str], entries: Sequence[tuple[int, Listed]]) -> bool:
    """Whether a work is named between entries without numbers: which one they are of is open."""
    if any(title_number(entry.title) is not None for _, entry in entries):
        return False
    with_entries = {place for place, _ in entries}
    between = range(min(with_entries), max(with_entries))
    return any(WORK.search(lines[place]) for place in between if place not in with_entries)


def with_missing_first(lines: Sequence[str], entries: Sequence[tuple[int, Listed]]) -> list[Listed]:
    """The entries, with the first movement in front if its line lacks the time: it is 0."""
    found = [entry for _, entry in entries]
    place, first = entries[0]
    above = next((line for line in reversed(lines[:place]) if line), "")
    title = above.strip(SIGNS)
    numbers = title_number(title), title_number(first.title)
    fits = numbers == (1, 2) or (numbers == (None, None) and is_music(title))
    short = len(title.split()) <= MOST_WORDS // 2 and not WORK.search(title)
    if first.at_s > 0 and fits and short and not TIME.search(above):
        return [Listed(title, 0.0), *found]
    return found


def as_starts(listed: Sequence[Listed], duration_s: float | None) -> tuple[Chapter, ...]:
    """The chapters of a list whose times are starts; () if they cannot be."""
    starts = [entry.at_s for entry in listed]
    if len(listed) < 2 or any(b <= a for a, b in pairwise(starts)):
        return ()
    if duration_s is not None and starts[-1] >= duration_s:
        return ()
    if starts[0] > INTRO_S and title_number(listed[0].title) in (None, 1):
        return ()
    ends = [
        following if entry.end_s is None or not entry.at_s < entry.end_s <= (following or math.inf)
        else entry.end_s
        for entry, following in zip(listed, [*starts[1:], None], strict=True)
    ]  # fmt: skip
    told = zip(listed, ends, strict=True)
    return tuple(Chapter(entry.title, entry.at_s, end_s) for entry, end_s in told)


def as_lengths(listed: Sequence[Listed], duration_s: float | None) -> tuple[Chapter, ...]:
    """The chapters of a list whose times are lengths, added up; () if they do not fill the file."""
    lengths = [entry.at_s for entry in listed]
    if len(listed) < 2 or duration_s is None or min(lengths) <= 0:
        return ()
    if abs(sum(lengths) - duration_s) > PAUSE_S * len(lengths):
        return ()
    starts = [0.0, *accumulate(lengths)][:-1]
    told = zip(listed, starts, [*starts[1:], None], strict=True)
    return tuple(Chapter(entry.title, start_s, end_s) for entry, start_s, end_s in told)


def seconds_of(clock: str) -> float:
    """Seconds of "m:ss" or "h:mm:ss"."""
    total = 0
    for part in clock.split(":"):
        total = total * 60 + int(part)
    return float(total)
