"""The line grammar of the visible text: lines of a work page -> the values they print."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from crawler.items import Movement, Person

Lines = Sequence[str]
KEPT = 1024  # lines whose meaning is remembered: a page's rows are looked at repeatedly

ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
TENS = ("", "X", "XX", "XXX", "XL")
ROMAN = {ten + one: 10 * i + j for i, ten in enumerate(TENS) for j, one in enumerate(ONES)}
NUMERALS = {number: roman for roman, number in ROMAN.items()}

DASH = "[-\u2010-\u2015\u2212]"
YEAR = r"(?:c\. ?)?"
YEARS = (
    rf"\((?:b\. |born )?{YEAR}(?P<birth>\d{{4}})?\??(?: ?{DASH} ?"
    rf"{YEAR}\??(?P<death>\d{{4}})?\??)?\)"
)
DATES = re.compile(rf"(?P<name>.+?) (?=\([^)]*{DASH}|\(b\. |\(born ){YEARS}")
LIFE = re.compile(r"\s*(?=(?:Nationality|Born|Died):)")  # "FuldaDied:" is two pieces
LIFE_LABEL = re.compile(r"(Nationality|Born|Died):\s*(.*)")
BARE_DATES = re.compile(rf"\(?(?P<birth>\d{{4}}) ?{DASH} ?(?P<death>\d{{4}})?\)?")
ODD_DATES = re.compile(r" \([^()]*\d{4}[^()]*\)$")  # years in a form that tells no life
AGE = re.compile(r"\s*\(age \d+\)$")
LIST_PLACE = re.compile(r"(?:(.*\S) )?(\d[\d,]*) of (\d[\d,]*)")
INSTRUMENTATION = re.compile(r"(?:(?P<title>.+) )?\(for (?P<players>.+)\)")
CLOCK = r"(?:(\d{1,2}):)?(\d{1,2}):(\d{2})"
TIME = re.compile(CLOCK)
LEADING_TIME = re.compile(r"[\[(]?((?:\d{1,2}:)?\d{1,2}:\d{2})[\])]?(?![\d:])(?: ?(.+))?")
MOVEMENT = re.compile(r"(?:(?P<time>[\d:]{4,8}) ?)?(?P<roman>[IVXL]{1,6})\.\s*(?P<name>.*)")
TRAILING_TIME = re.compile(
    r"(?P<name>.*[^\s,(\[]),? ?[\[(]?(?P<time>(?:\d{1,2}:)?\d{1,2}:\d{2})[\])]?"
)
ARABIC = re.compile(r"(?:(?P<time>[\d:]{4,8}) )?(?P<number>\d{1,2})[.)] (?P<name>.+)")
PLAIN_COUNT = re.compile(r"(recording|video)s?: ?(\d+)")
PART = re.compile(r"\(part \d+ of \d+\)")
COUNT = re.compile(r"(\d+) recordings?,? (\d+) videos?(?: [a-z]+){0,4}")  # perhaps with controls
NUMBERS = ("Op. ", "No. ", "Livre ", "Book ")  # how the lower half of a title may begin
DIGITS = tuple("0123456789)]")
NAME_LENGTH, LABEL_LENGTH, CONTROLS_LENGTH = 60, 20, 40  # characters, at most
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The words that the site prints."""

    facts: tuple[str, ...]
    remark: str  # the fact that is free text
    related: str
    glossary: str
    foot: tuple[str, ...]  # how the lines of every page's foot begin, in lower case
    navigation: tuple[str, ...]  # what leads from one work of a list to another
    controls: tuple[str, ...]
    qualifiers: tuple[str, ...]
    own: str  # source of the prose that names none
    sources: tuple[str, ...]  # whose prose it is known to print


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
# What the lines of a field say


def list_place(lines: Lines, labels: Labels) -> ListPlace | None:
    """The list's title and the place in it: "27 of 743" below or beside the title."""
    lines = [line for line in lines if line.casefold() not in labels.navigation]
    for index, line in enumerate(lines):
        if match := LIST_PLACE.fullmatch(line):
            title = match[1] or (lines[index - 1] if index else None)
            place, total = (int(number.replace(",", "")) for number in match.groups()[1:])
            return ListPlace(title, place, total)
    return None


def is_life(line: str) -> bool:
    """Whether a line tells of a composer's life."""
    told = (DATES.fullmatch, BARE_DATES.fullmatch, LIFE_LABEL.match)
    return any(form(piece) for piece in LIFE.split(line) for form in told)


def is_name(line: str) -> bool:
    """Whether a line may be the name of a person."""
    return any(map(str.isupper, line)) and len(line) <= NAME_LENGTH and line[-1] not in "!?:"


def person(lines: Lines) -> Person | None:
    """The composer, from the lines above the title."""
    pieces = [piece for line in lines for piece in LIFE.split(line) if piece]
    dated = [index for index, piece in enumerate(pieces) if DATES.fullmatch(piece)]
    named = _named(pieces)
    if dated and (match := DATES.fullmatch(pieces[dated[-1]])):
        years = match.groupdict()
    elif named:
        bare = next(filter(None, map(BARE_DATES.fullmatch, pieces)), None)
        years = {**(bare.groupdict() if bare else {}), "name": ODD_DATES.sub("", named)}
    else:
        return None
    # Another person's life may stand above, in a list beside the page.
    life = _life(pieces[dated[-1] :] if dated else pieces) or _life(pieces)
    return Person(
        name=str(years["name"]),
        birth_year=_year(years.get("birth")),
        death_year=_year(years.get("death")),
        nationality=life.get("Nationality"),
        born=life.get("Born"),
        died=life.get("Died"),
    )


def _named(pieces: Lines) -> str | None:
    """The last of the lines above the life that may be a name."""
    first = next((i for i, piece in enumerate(pieces) if LIFE_LABEL.match(piece)), len(pieces))
    return next((piece for piece in reversed(pieces[:first]) if any(map(str.isalpha, piece))), None)


def _life(pieces: Lines) -> dict[str, str]:
    """Label -> value, without the age at the end."""
    told = [match for piece in pieces if (match := LIFE_LABEL.fullmatch(piece))]
    return {match[1]: value for match in reversed(told) if (value := AGE.sub("", match[2]))}


def _year(text: str | None) -> int | None:
    return int(text) if text else None


def is_control(line: str, labels: Labels) -> bool:
    """Whether a line holds nothing but words to press."""
    if len(line) > CONTROLS_LENGTH:
        return False
    line = line.lower()
    return line.startswith(labels.controls) and set(line.split()) <= set(labels.controls)


def title(lines: Lines) -> str:
    """The title without the instrumentation that may stand beside or below it."""
    texts = [line for line in lines if not line.startswith("(for ")]
    text = ""
    for line in texts:
        text += f"{', ' if text and line.startswith(NUMBERS) else ' '}{line}"
    match = INSTRUMENTATION.fullmatch(text.strip()) if len(texts) == len(lines) else None
    return match["title"] if match and match["title"] else text.strip()


def instrumentation(lines: Lines) -> str | None:
    """The players in '(for violin and piano)', beside or below the title."""
    found = [match["players"] for line in lines if (match := INSTRUMENTATION.fullmatch(line))]
    return found[-1] if found else None


def bare_instrumentation(lines: Lines) -> str | None:
    """The players where the lines are known to tell them, in parentheses or not."""
    text = " ".join(lines).strip("() ")
    return text.removeprefix("for ") or None


def numbers(title: str) -> tuple[str | None, str | None]:
    """Opus and catalogue number of a title; a catalogue number alone counts as the opus."""
    opus, catalogue = OPUS.search(title), CATALOGUE.search(title)
    told = [match[0] if match else None for match in (opus, catalogue)]
    return (told[0], told[1]) if opus else (told[1], None)


@lru_cache(maxsize=KEPT)
def seconds(text: str) -> int | None:
    """Seconds of m:ss or h:mm:ss, None for anything else."""
    match = TIME.fullmatch(text) if ":" in text else None
    if match is None:
        return None
    hours, minutes, rest = (int(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + rest


@lru_cache(maxsize=KEPT)
def movement(line: str) -> Movement | None:
    """A movement line: '8:43 I. Allegro energico', the time may be missing."""
    match = MOVEMENT.fullmatch(line) if "." in line else None
    number = ROMAN.get(match["roman"]) if match else None
    if match is None or not number:
        return None
    return _movement(number, match["name"], match["time"])


def _movement(number: int, name: str, time: str | None) -> Movement | None:
    """A movement whose time may stand behind its name; None where the time is none."""
    if time is None and name[-1:] in DIGITS and (match := TRAILING_TIME.fullmatch(name)):
        name, time = match["name"], match["time"]
    if time and seconds(time) is None:
        return None
    return Movement(number=number, name=name, typical_s=seconds(time) if time else None)


def movements(lines: Lines) -> tuple[Movement, ...]:
    """The movement list; time, numeral and name may stand on lines of their own."""
    found: list[Movement] = []
    below = bool(lines) and seconds(lines[0]) is None and seconds(lines[-1]) is not None
    time_s: int | None = None
    for line in lines:
        if (this := seconds(line)) is not None:
            time_s = this
            if below and found and found[-1].typical_s is None:
                found[-1], time_s = replace(found[-1], typical_s=this), None
        elif item := movement(line):
            own_s = time_s if item.typical_s is None else item.typical_s
            found.append(replace(item, typical_s=own_s))
            time_s = None
        elif found and not found[-1].name:
            found[-1] = replace(found[-1], name=line)
    return tuple(found) or _numbered(lines)


def _numbered(lines: Lines) -> tuple[Movement, ...]:
    """A movement list in Arabic numerals, "1. Allegro"."""
    matches = [match for line in lines if (match := ARABIC.fullmatch(line))]
    items = [_movement(int(match["number"]), match["name"], match["time"]) for match in matches]
    whole = tuple(item for item in items if item)
    return whole if [item.number for item in whole] == [*range(1, len(whole) + 1)] else ()


def listed_movements(lines: Lines) -> tuple[Movement, ...]:
    """The movements where every line is known to be one, numbered in their order."""
    names: list[Movement] = []
    time: str | None = None
    for line in lines:
        match = LEADING_TIME.fullmatch(line)
        time, name = match.groups() if match else (time, line)
        if name and (item := _movement(len(names) + 1, name, time)):
            names.append(item)
            time = None
    return tuple(names)


def fact_label(line: str, labels: Labels) -> str | None:
    """The label that a fact's line begins with."""
    head, colon, _ = line.partition(":")
    if not colon or len(head) > LABEL_LENGTH:
        return None
    head = head.rstrip()
    head = head.capitalize() if head.isupper() else head
    return head if head in labels.facts else None


def facts(lines: Lines, labels: Labels) -> Mapping[str, str]:
    """Labelled facts; a value may stand on the next line, several facts on one."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in _fact_lines(lines, labels):
        if label := fact_label(line, labels):
            current = found.setdefault(label, [])
            line = line.partition(":")[2].strip()
        current.append(line)
    told = {label: " ".join(filter(None, values)) for label, values in found.items()}
    return {label: value for label, value in told.items() if value}


def _fact_lines(lines: Lines, labels: Labels) -> list[str]:
    """The lines with several facts cut at their labels, but for what a remark says."""
    inner = re.compile(rf"\s+(?=(?:{'|'.join(map(re.escape, labels.facts))}):)")
    cut: list[str] = []
    for line in lines:
        pieces = inner.split(line) if fact_label(line, labels) else [line]
        free = (i for i, piece in enumerate(pieces) if piece.startswith(f"{labels.remark}:"))
        last = next(free, len(pieces))
        cut += [*pieces[:last], *filter(None, [" ".join(pieces[last:])])]
    return cut


def listed_facts(lines: Lines, labels: Labels) -> Mapping[str, str]:
    """Labelled facts where a line that is a label alone is known to be one."""
    return facts([f"{line}:" if line in labels.facts else line for line in lines], labels)


def counts(lines: Lines) -> Counts | None:
    """'2 recordings, 7 videos'."""
    match = COUNT.fullmatch(lines[0]) if lines else None
    return Counts(int(match[1]), int(match[2])) if match else None


def listed_counts(lines: Lines) -> Counts | None:
    """'Recordings: 2 Videos: 7', where the lines are known to tell it."""
    found = dict(PLAIN_COUNT.findall(" ".join(lines).casefold()))
    return Counts(int(found["recording"]), int(found["video"])) if len(found) == 2 else None


def related(lines: Lines) -> tuple[str, ...]:
    """Names of related composers, without their dates."""
    pieces = [piece for line in lines for piece in LIFE.split(line) if piece]
    names = [
        match["name"] if (match := DATES.fullmatch(piece)) else piece
        for piece in pieces
        if not LIFE_LABEL.match(piece) and any(map(str.isupper, piece))  # "dedicatee" is none
    ]
    return tuple(dict.fromkeys(names))
