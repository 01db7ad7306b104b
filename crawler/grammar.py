"""The line grammar of the visible text: lines of a work page -> the values they print."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crawler.items import Movement, Note, Person

Lines = Sequence[str]

ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
TENS = ("", "X", "XX", "XXX", "XL")
ROMAN = {ten + one: 10 * i + j for i, ten in enumerate(TENS) for j, one in enumerate(ONES)}
NUMERALS = {number: roman for roman, number in ROMAN.items()}

YEARS = r"\((?:c\. ?)?(?P<birth>\d{4})?[-\u2013](?:c\. ?)?(?P<death>\d{4})?\)"
DATES = re.compile(rf"(?P<name>.+?) {YEARS}")
LIFE = re.compile(r"\s*(?=(?:Nationality|Born|Died):)")  # "FuldaDied:" is two pieces
LIFE_LABEL = re.compile(r"(Nationality|Born|Died):\s*(.*)")
PARTED = tuple(
    (re.compile(upper), re.compile(lower))
    for upper, lower in (
        (r"Nationality:", r"[^:\d]+"),
        (r"(?:Born|Died):", r"[^:]*\d{4}[^:]*"),
        (r"\d+ recordings?,?", r"\d+ videos?(?: [a-z]+)*"),
    )
)
PARTING = (":", "recording", "recordings", "recording,", "recordings,")  # what an upper ends with
AGE = re.compile(r"\s*\(age \d+\)$")
LIST_PLACE = re.compile(r"(?:(.*\S) )?(\d+) of (\d+)")
INSTRUMENTATION = re.compile(r"(?:(?P<title>.+) )?\(for (?P<players>.+)\)")
CLOCK = r"(?:(\d{1,2}):)?(\d{1,2}):(\d{2})"
TIME = re.compile(CLOCK)
LEADING_TIME = re.compile(r"[\[(]?((?:\d{1,2}:)?\d{1,2}:\d{2})[\])]?(?: (.+))?")
MOVEMENT = re.compile(r"(?:(?P<time>[\d:]{4,8}) )?(?P<roman>[IVXL]{1,6})\.\s*(?P<name>.*)")
PART = re.compile(r"\(part \d+ of \d+\)")
COUNT = re.compile(r"(\d+) recordings?,? (\d+) videos?(?: [a-z]+){0,4}")  # perhaps with controls
SOURCE = re.compile(r"From ((?=[^a-z]).{0,79}[^\s.!?,;:])")  # a sentence ends with a stop
TITLE_YEAR = re.compile(r"(?P<title>.+) \((?:c\. ?)?\d{4}(?:[-\u2013]\d{4})?\)")
SENTENCE_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)]*$")
CLOSING = tuple(".!?\u2026\"'\u201d\u2019)")
KEY = re.compile(r"\bin ([A-Ga-g](?:[- ](?:flat|sharp))? (?:major|minor))\b")
OPUS = re.compile(
    r"(?<![\w.])Op\. ?(?:posth?\.? ?)?\d+[a-z]?(?:/\d+[a-z]?)?(?:,? No\. ?\d+)?|\bOp\. posth?\.?"
)
CATALOGUE = re.compile(
    r"(?<![\w.])(?:KV?\.? ?(?:Anh\.? ?)?|Hob\.? ?[IVXL]+[a-z]?: ?|JB ?\d+:|MWV [A-Z] ?|"
    r"P\.? ?[IVXL]+:|"
    r"(?:BWV|BB|FP|FS|GWV|HWV|JS|KWV|RV|Sz|TWV|TrV|WK|Wq|WoO|[BCDGHJMPS])\.? ?)"
    r"\d+[a-z]?(?:,? No\. ?\d+)?(?![\w:])"
)
PROSE_WORDS, HEADED_WORDS = 12, 5  # the least words of a paragraph: alone, and below a heading


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The words that the site prints."""

    facts: tuple[str, ...]
    remark: str  # the fact that is free text
    related: str
    glossary: str
    controls: tuple[str, ...]
    qualifiers: tuple[str, ...]
    own: str  # source of the prose that names none


@dataclass(frozen=True, slots=True)
class ListPlace:
    """Where the work stands in the list that the page was reached from."""

    title: str | None
    place: int  # 1-based
    total: int


@dataclass(frozen=True, slots=True)
class Counts:
    """How many recordings and videos the page says that it shows."""

    recordings: int
    videos: int


# ------------------------------------------------------------------------------------------------
# Where the fields stand


def joined(lines: Lines) -> list[str]:
    """The lines with what the markup may have parted: a label and its value, the two counts."""
    whole: list[str] = []
    for line in lines:
        above = whole[-1] if whole else ""
        if above.endswith(PARTING) and any(
            upper.fullmatch(above) and lower.fullmatch(line) for upper, lower in PARTED
        ):
            whole[-1] = f"{above} {line}"
        else:
            whole.append(line)
    return whole


def regions(lines: Lines, labels: Labels) -> dict[str, Lines]:
    """Split a page's lines into the regions of its fields, in the site's order of blocks."""
    start = _title_index(lines, labels)
    if start is None:
        return {}
    body = start + 1
    if body < len(lines) and not INSTRUMENTATION.fullmatch(lines[start]):
        body += bool(INSTRUMENTATION.fullmatch(lines[body]))
    rows = _rows_index(lines, body, labels)
    end = _first(
        lines,
        rows if rows < len(lines) else body,
        lambda line: line in (labels.related, labels.glossary),
    )
    rows = min(rows, end)
    facts = _first(lines, body, lambda line: fact_label(line, labels), rows)
    begin = rows if rows < end else _facts_end(lines, facts if facts < end else body, end, labels)
    prose = _prose_index(lines, begin, end, lines[start])
    rows, facts = min(rows, prose), min(facts, prose)
    glossary = _first(lines, end, lambda line: line == labels.glossary)
    return {
        "list": lines[:start],
        "composer": lines[:start],
        "title": lines[start:body],
        "instrumentation": lines[start:body],
        "movements": lines[body:facts],
        "facts": lines[facts:rows],
        "counts": lines[rows : rows + 1],
        "recordings": lines[rows:prose],
        "notes": lines[prose:end],
        "related": lines[end:glossary][1:],
    }


def _first(
    lines: Lines, start: int, wanted: Callable[[str], object], stop: int | None = None
) -> int:
    """Index of the first line in [start, stop) that `wanted` accepts, else `stop`."""
    stop = len(lines) if stop is None else stop
    return next((index for index in range(start, stop) if wanted(lines[index])), stop)


def _title_index(lines: Lines, labels: Labels) -> int | None:
    """The line with or before the instrumentation, else the one after the composer's life."""
    bound = _first(
        lines, 1, lambda line: COUNT.fullmatch(line) or fact_label(line, labels)
        or (SOURCE.fullmatch(line))
    )  # fmt: skip
    for index in range(1, bound):
        if match := INSTRUMENTATION.fullmatch(lines[index]):
            return index if match["title"] else index - 1
    life = _first(lines, 0, is_life, bound)
    title = _first(lines, life, lambda line: not is_life(line), bound)
    rest = lines[title + 1 :]
    if title == bound or not any(_is_body(line, labels) for line in rest):
        return None
    return title


def is_life(line: str) -> bool:
    """Whether a line tells of a composer's life."""
    return any(DATES.fullmatch(piece) or LIFE_LABEL.match(piece) for piece in LIFE.split(line))


def _is_body(line: str, labels: Labels) -> object:
    return (COUNT.fullmatch(line) or TIME.fullmatch(line) or movement(line)
            or fact_label(line, labels) or SOURCE.fullmatch(line) or is_prose(line))  # fmt: skip


def _rows_index(lines: Lines, body: int, labels: Labels) -> int:
    """Where the playlist begins: its counts or controls, else a time above a line of names."""
    index = _first(lines, body, lambda line: COUNT.fullmatch(line) or is_control(line, labels))
    if index < len(lines):
        return index
    for index in range(body, len(lines) - 1):
        match = LEADING_TIME.fullmatch(lines[index])
        below = match and (match[2] or lines[index + 1])
        if below and not movement(below) and not lines[index - 1].endswith(":"):
            return index
    return len(lines)


def is_control(line: str, labels: Labels) -> bool:
    """Whether a line holds nothing but words to press."""
    return line.startswith(labels.controls) and set(line.split()) <= set(labels.controls)


def _facts_end(lines: Lines, facts: int, end: int, labels: Labels) -> int:
    """Where prose may begin on a page without playlist: below the last fact's value."""
    labelled = [index for index in range(facts, end) if fact_label(lines[index], labels)]
    last = max(labelled, default=facts - 1)
    return min(end, last + 1 + (bool(labelled) and lines[last].endswith(":")))


def _prose_index(lines: Lines, start: int, end: int, title: str) -> int:
    """Where the notes begin: a source, a heading of the site's own essays, or a paragraph."""
    for index in range(start, end):
        timed = index > start and TIME.fullmatch(lines[index - 1])
        if SOURCE.fullmatch(lines[index]) or (not timed and _essay(lines, index, title)):
            return index
    return end


def _essay(lines: Lines, index: int, title: str) -> int | None:
    """Index of the first paragraph of an own essay that begins here, None when none does.

    It begins with "Composer (years)", "Title (year)", both, or at once.
    """
    if not lines[index].endswith(")"):
        return index if is_prose(lines[index]) else None
    below = index + bool(DATES.fullmatch(lines[index]))
    match = TITLE_YEAR.fullmatch(lines[below]) if below < len(lines) else None
    if match and (below > index or match["title"].casefold() in title.casefold()):
        below += 1
    if below == index:
        return index if is_prose(lines[index]) else None
    return below if below < len(lines) and is_prose(lines[below], HEADED_WORDS) else None


def is_prose(line: str, least: int = PROSE_WORDS) -> bool:
    """Whether a line is a paragraph: long enough, ended, and mostly of words in lower case."""
    if not line.endswith(CLOSING) or line.endswith(("et. al.", "et al.")):
        return False
    words = line.split()
    if len(words) < least or not SENTENCE_END.search(line):
        return False
    return 2 * sum(word[0].islower() for word in words) > len(words)


# ------------------------------------------------------------------------------------------------
# What the lines of a field say


def list_place(lines: Lines) -> ListPlace | None:
    """The list's title and the place in it: "27 of 743" below or beside the title."""
    for index, line in enumerate(lines):
        if match := LIST_PLACE.fullmatch(line):
            title = match[1] or (lines[index - 1] if index else None)
            return ListPlace(title, int(match[2]), int(match[3]))
    return None


def person(lines: Lines) -> Person | None:
    """The composer, from the lines above the title."""
    pieces = [piece for line in lines for piece in LIFE.split(line) if piece]
    dated = [match for piece in pieces if (match := DATES.fullmatch(piece))]
    first = _first(pieces, 0, is_life)
    if not dated and not pieces[:first]:
        return None
    years = dated[-1].groupdict() if dated else {"name": pieces[first - 1]}
    life = _life(pieces)
    return Person(
        name=str(years["name"]),
        birth_year=_year(years.get("birth")),
        death_year=_year(years.get("death")),
        nationality=life.get("Nationality"),
        born=life.get("Born"),
        died=life.get("Died"),
    )


def _life(pieces: Lines) -> dict[str, str]:
    """Label -> value, without the age at the end."""
    told = [match for piece in pieces if (match := LIFE_LABEL.fullmatch(piece))]
    return {match[1]: value for match in reversed(told) if (value := AGE.sub("", match[2]))}


def _year(text: str | None) -> int | None:
    return int(text) if text else None


def title(lines: Lines) -> str:
    """The title without the instrumentation that may stand beside or below it."""
    text = " ".join(line for line in lines if not line.startswith("(for "))
    match = INSTRUMENTATION.fullmatch(text)
    return match["title"] if match and match["title"] else text


def instrumentation(lines: Lines) -> str | None:
    """The players in '(for violin and piano)', beside or below the title."""
    found = [match["players"] for line in lines if (match := INSTRUMENTATION.fullmatch(line))]
    return found[0] if found else None


def numbers(title: str) -> tuple[str | None, str | None]:
    """Opus and catalogue number of a title; a catalogue number alone counts as the opus."""
    opus, catalogue = OPUS.search(title), CATALOGUE.search(title)
    told = [match[0] if match else None for match in (opus, catalogue)]
    return (told[0], told[1]) if opus else (told[1], None)


def seconds(text: str) -> int | None:
    """Seconds of m:ss or h:mm:ss, None for anything else."""
    match = TIME.fullmatch(text) if ":" in text else None
    if match is None:
        return None
    hours, minutes, rest = (int(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + rest


def movement(line: str) -> Movement | None:
    """A movement line: '8:43 I. Allegro energico', the time may be missing."""
    match = MOVEMENT.fullmatch(line) if "." in line else None
    number = ROMAN.get(match["roman"]) if match else None
    if match is None or not number:
        return None
    time = match["time"]
    if time and seconds(time) is None:
        return None
    return Movement(number=number, name=match["name"], typical_s=seconds(time) if time else None)


def movements(lines: Lines) -> tuple[Movement, ...]:
    """The movement list; time, numeral and name may stand on lines of their own."""
    found: list[Movement] = []
    time_s: int | None = None
    for line in lines:
        if (this := seconds(line)) is not None:
            time_s = this
        elif item := movement(line):
            own_s = time_s if item.typical_s is None else item.typical_s
            found.append(Movement(number=item.number, name=item.name, typical_s=own_s))
            time_s = None
        elif found and not found[-1].name:
            last = found.pop()
            found.append(Movement(number=last.number, name=line, typical_s=last.typical_s))
    return tuple(found)


def fact_label(line: str, labels: Labels) -> str | None:
    """The label that a fact's line begins with."""
    head, colon, _ = line.partition(":")
    return head if colon and head in labels.facts else None


def facts(lines: Lines, labels: Labels) -> Mapping[str, str]:
    """Labelled facts; a value may stand on the next line, several facts on one."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in _fact_lines(lines, labels):
        if label := fact_label(line, labels):
            current = found.setdefault(label, [])
            line = line[len(label) + 1 :].strip()
        current.append(line)
    told = {label: " ".join(filter(None, values)) for label, values in found.items()}
    return {label: value for label, value in told.items() if value}


def _fact_lines(lines: Lines, labels: Labels) -> list[str]:
    """The lines with several facts cut at their labels, but for what a remark says."""
    inner = re.compile(rf"\s+(?=(?:{'|'.join(map(re.escape, labels.facts))}):)")
    cut: list[str] = []
    for line in lines:
        begins = line.startswith(f"{labels.remark}:")
        label = fact_label(line, labels)
        cut += [line] if begins or not label else inner.split(line)
    return cut


def counts(lines: Lines) -> Counts | None:
    """'2 recordings, 7 videos'."""
    match = COUNT.fullmatch(lines[0]) if lines else None
    return Counts(int(match[1]), int(match[2])) if match else None


# ------------------------------------------------------------------------------------------------
# The prose


def notes(lines: Lines, labels: Labels, title: str) -> tuple[Note, ...]:
    """The prose, one note a source; what follows a note's credit belongs to none.

    Prose of the site's own names no source: it begins below a heading or is a paragraph.
    """
    found: list[tuple[str, list[str]]] = []
    open_ = False  # whether the last note still takes lines
    index = 0
    while index < len(lines):
        fresh = open_ and not found[-1][1]
        inside = open_ and not lines[index].endswith(")")  # a paragraph of an open note
        begin = None if fresh or inside else _essay(lines, index, title)
        if match := SOURCE.fullmatch(lines[index]):
            found.append((match[1], []))
            open_ = True
        elif begin is not None and (begin > index or not open_):
            found.append((labels.own, [lines[begin]]))
            open_, index = True, begin
        elif open_:
            found[-1][1].append(lines[index])
            open_ = not is_credit(lines[index])
        index += 1
    return tuple(note(source, texts) for source, texts in found if texts)


def is_credit(line: str) -> bool:
    """Whether a line says who holds the rights."""
    return line.startswith(("©", "(c) "))


def note(source: str, texts: Lines) -> Note:
    """A note from its paragraphs and, perhaps, the credit below them."""
    credit = texts[-1] if is_credit(texts[-1]) else None
    return Note(source=source, text="\n\n".join(texts[:-1] if credit else texts), credit=credit)


def related(lines: Lines) -> tuple[str, ...]:
    """Names of related composers, without their dates."""
    pieces = [piece for line in lines for piece in LIFE.split(line) if piece]
    names = [
        match["name"] if (match := DATES.fullmatch(piece)) else piece
        for piece in pieces
        if not LIFE_LABEL.match(piece)
    ]
    return tuple(dict.fromkeys(names))
