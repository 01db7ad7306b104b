"""The line grammar of the visible text: lines of a work page -> the values they print."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from crawler.items import Movement, Note, Person

Lines = Sequence[str]

ONES = ("", "I", "II", "III", "IV", "V", "VI", "VII", "VIII", "IX")
TENS = ("", "X", "XX", "XXX", "XL")
ROMAN = {ten + one: 10 * i + j for i, ten in enumerate(TENS) for j, one in enumerate(ONES)}

DATES = re.compile(
    r"(?P<name>.+?) \((?:c\. ?)?(?P<birth>\d{4})?[-\u2013](?:c\. ?)?(?P<death>\d{4})?\)"
)
NATIONALITY = re.compile(r"Nationality:\s*(.+)")
BORN = re.compile(r"Born:\s*(.*?)\s*(?=Died:|$)")
DIED = re.compile(r"Died:\s*(.*?)\s*(?:\(age \d+\))?$")
INSTRUMENTATION = re.compile(r"\(for (.+)\)")
TIME = re.compile(r"(?:(\d{1,2}):)?(\d{1,2}):(\d{2})")
MOVEMENT = re.compile(r"(?:(?P<time>[\d:]{4,8}) )?(?P<roman>[IVXL]{1,6})\.\s*(?P<name>.*)")
PART = re.compile(r"\(part \d+ of \d+\)")
COUNT = re.compile(r"\d+ recordings?, \d+ videos?")
SOURCE = re.compile(r"From ([^\s.!?][^.!?]{1,80})")  # a sentence ends with a stop, a source not
KEY = re.compile(r"\bin ([A-Ga-g](?:[- ](?:flat|sharp))? (?:major|minor))\b")
OPUS = re.compile(
    r"(?<![\w.])(?:Op\. ?(?:posth\. ?)?|WoO ?|K\. ?(?:Anh\. ?)?|D\. ?|B\. ?|G\. ?|H\. ?|BWV ?|FP ?|"
    r"Sz\.? ?|BB ?|Wq\.? ?|RV ?|Hob\. ?[IVXL]+:)\d+[a-z]?(?:,? No\. ?\d+)?"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """The words that the site prints."""

    facts: tuple[str, ...]
    related: str
    glossary: str
    controls: tuple[str, ...]
    qualifiers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """One playlist row: its time and the lines beside it (performers, movement)."""

    duration_s: float | None
    lines: tuple[str, ...]


def regions(lines: Lines, labels: Labels) -> dict[str, Lines]:
    """Split a page's lines into the regions of its fields, in the site's order of blocks."""
    start = _title_index(lines, labels)
    if start is None:
        return {}
    body = start + 1
    end = _first(lines, body, lambda line: line in (labels.related, labels.glossary))
    if body < end and INSTRUMENTATION.fullmatch(lines[body]):
        body += 1
    counts = _first(lines, body, COUNT.fullmatch, end)
    notes = _first(lines, counts if counts < end else body, SOURCE.fullmatch, end)
    facts = _first(lines, body, lambda line: fact_label(line, labels), min(counts, notes))
    glossary = _first(lines, end, lambda line: line == labels.glossary)
    return {
        "composer": lines[:start],
        "title": lines[start : start + 1],
        "instrumentation": lines[start + 1 : body],
        "movements": lines[body:facts],
        "facts": lines[facts : min(counts, notes)],
        "rows": lines[counts + 1 : notes],
        "notes": lines[notes:end],
        "related": lines[end:glossary][1:],
    }


def _first(
    lines: Lines, start: int, wanted: Callable[[str], object], stop: int | None = None
) -> int:
    """Index of the first line in [start, stop) that `wanted` accepts, else `stop`."""
    stop = len(lines) if stop is None else stop
    return next((index for index in range(start, stop) if wanted(lines[index])), stop)


def _title_index(lines: Lines, labels: Labels) -> int | None:
    """The line before the instrumentation, else the one after the composer's life."""
    for index, line in enumerate(lines[1:], start=1):
        if INSTRUMENTATION.fullmatch(line):
            return index - 1
    life = [index for index, line in enumerate(lines) if _is_life(line)]
    if not life or life[-1] + 1 >= len(lines):
        return None
    rest = lines[life[-1] + 2 :]
    evident = any(
        COUNT.fullmatch(line) or movement(line) or fact_label(line, labels) for line in rest
    )
    return life[-1] + 1 if evident else None


def _is_life(line: str) -> bool:
    return bool(DATES.fullmatch(line) or NATIONALITY.fullmatch(line) or BORN.match(line)
                or DIED.match(line))  # fmt: skip


def person(lines: Lines) -> Person | None:
    """The composer, from the lines above the title."""
    dates = next((match for line in lines if (match := DATES.fullmatch(line))), None)
    life = _first(lines, 0, _is_life)
    if dates is None and not lines[:life]:
        return None
    years = dates.groupdict() if dates else {"name": lines[life - 1]}
    text = [match for line in lines for match in NATIONALITY.findall(line)]
    born = [match for line in lines for match in BORN.findall(line)]
    died = [match for line in lines for match in DIED.findall(line)]
    return Person(
        name=str(years["name"]),
        birth_year=_year(years.get("birth")),
        death_year=_year(years.get("death")),
        nationality=text[0] if text else None,
        born=born[0] or None if born else None,
        died=died[0] or None if died else None,
    )


def _year(text: str | None) -> int | None:
    return int(text) if text else None


def seconds(text: str) -> int | None:
    """Seconds of m:ss or h:mm:ss, None for anything else."""
    match = TIME.fullmatch(text)
    if match is None:
        return None
    hours, minutes, rest = (int(group or 0) for group in match.groups())
    return 3600 * hours + 60 * minutes + rest


def movement(line: str) -> Movement | None:
    """A movement line: '8:43 I. Allegro energico', the time may be missing."""
    match = MOVEMENT.fullmatch(line)
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
    """Labelled facts; a value may stand on the next line."""
    found: dict[str, list[str]] = {}
    current: list[str] = []
    for line in lines:
        if label := fact_label(line, labels):
            current = found.setdefault(label, [])
            line = line[len(label) + 1 :].strip()
        current.append(line)
    return {label: " ".join(filter(None, values)) for label, values in found.items()}


def row(lines: Lines) -> Row:
    """A playlist row whose lines are known to belong together."""
    times = [second for line in lines if (second := seconds(line)) is not None]
    rest = tuple(line for line in lines if seconds(line) is None)
    return Row(float(times[0]) if times else None, rest)


def rows(lines: Lines, labels: Labels) -> list[Row]:
    """Playlist rows from running lines: a time begins one, where there are times."""
    groups: list[list[str]] = []
    for line in lines:
        if not set(line.split()) - set(labels.controls):
            continue
        texts = [item for item in groups[-1] if seconds(item) is None] if groups else []
        second = bool(movement(line) or PART.fullmatch(line))
        fits = bool(groups) and (not texts or (len(texts) == 1 and second))
        if seconds(line) is not None or not fits:
            groups.append([])
        groups[-1].append(line)
    return [row(group) for group in groups]


def performers(line: str, labels: Labels) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names and qualifiers of 'A Quartet, B (live)'."""
    qualifiers: list[str] = []
    while (match := re.fullmatch(r"(.*?) ?\(([^()]*)\)", line)) and match[2] in labels.qualifiers:
        line = match[1]
        qualifiers.insert(0, match[2])
    return tuple(name.strip() for name in line.split(",") if name.strip()), tuple(qualifiers)


def notes(lines: Lines) -> tuple[Note, ...]:
    """The prose, one note a source; what follows a note's credit belongs to none."""
    found: list[tuple[str, list[str]]] = []
    for line in lines:
        if match := SOURCE.fullmatch(line):
            found.append((match[1], []))
        elif found and not (found[-1][1] and is_credit(found[-1][1][-1])):
            found[-1][1].append(line)
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
    names = [
        match["name"] if (match := DATES.fullmatch(line)) else line
        for line in lines
        if not BORN.match(line) and not DIED.match(line)
    ]
    return tuple(dict.fromkeys(names))
