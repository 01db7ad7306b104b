"""Where the fields of a work page stand among its visible lines."""

import re
from collections.abc import Callable, Iterator

from crawler.grammar import (
    CATALOGUE,
    COUNT,
    INSTRUMENTATION,
    LEADING_TIME,
    TIME,
    Labels,
    Lines,
    fact_label,
    is_control,
    is_life,
    is_name,
    movement,
)
from crawler.prose import begin, is_credit, is_prose, source

PARTED = tuple(
    (re.compile(upper), re.compile(lower))
    for upper, lower in (
        (r"Nationality:", r"[^:\d]+"),
        (r"(?:Born|Died):", r"[^:]*\d{4}[^:]*"),
        (r"\d+ recordings?,?", r"\d+ videos?(?: [a-z]+)*"),
        (r"From:?", r"[A-Z].{0,79}"),
    )
)
# What an upper ends with.
PARTING = (":", "recording", "recordings", "recording,", "recordings,", "From")
TITLE_TAIL = re.compile(r"(?:Op\.|No\. ?\d|in [A-Ga-g]\b|Livre |Book ).*")  # of a parted title
FOOT_WORDS = 6  # more than that are no line of a page's foot


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


def regions(lines: Lines, labels: Labels, selected: Lines = ()) -> dict[str, Lines]:
    """Split a page's lines into the regions of its fields, in the site's order of blocks.

    `selected` is the title as a selector gives it: where the text does not tell, it does.
    """
    counted = _first(lines, 0, COUNT.fullmatch)
    if counted < len(lines):  # else the controls tell where the playlist begins
        above = [line for line in lines[:counted] if not is_control(line, labels)]
        lines = [*above, *lines[counted:]]
    start = _title_index(lines, labels, selected)
    if start is None:
        return {}
    body = _title_end(lines, start)
    rows = _rows_index(lines, body, labels)
    end, glossary = _tail(lines, rows if rows < len(lines) else body, labels)
    rows = min(rows, end)
    facts, below = _facts(lines, body, end, labels) if rows == end else (rows, rows)
    if rows < end:
        facts = _first(lines, body, lambda line: fact_label(line, labels), rows)
    title = " ".join(lines[start:body])
    known = _rows_end(lines, rows, end)
    bare = known is not None or (rows == end and facts < below)
    prose = begin(lines, known or below, end, title, labels, bare=bare)
    rows, facts = min(rows, prose), min(facts, prose)
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


# ------------------------------------------------------------------------------------------------
# The title


def _title_index(lines: Lines, labels: Labels, selected: Lines) -> int | None:
    """The line with or before the instrumentation, else the one after the composer's life.

    Without both it is where a selector says, else above the first line of the body.
    """
    bound = _bound(lines, labels)
    for index in range(1, bound):
        if match := INSTRUMENTATION.fullmatch(lines[index]):
            return index if match["title"] else _title_begin(lines, index - 1)
    life = _first(lines, 0, is_life, bound)
    title = _first(lines, life, lambda line: not is_life(line), bound)
    if title < bound and any(_is_body(line, labels) for line in lines[title + 1 :]):
        return title
    if selected and selected[0] in lines:
        return lines.index(selected[0])
    if life < bound:
        return None
    return _title_above_body(lines, labels)


def _bound(lines: Lines, labels: Labels) -> int:
    """Where the head of a page ends: counts, a fact, or a source that is not the title."""
    for index in range(1, len(lines)):
        line = lines[index]
        if COUNT.fullmatch(line) or fact_label(line, labels):
            return index
        if source(line, labels) and not is_life(lines[index - 1]):
            below = lines[index + 1] if index + 1 < len(lines) else ""
            if not INSTRUMENTATION.fullmatch(below):
                return index
    return len(lines)


def _title_begin(lines: Lines, index: int) -> int:
    """The first line of a title that ends at `index`: "Op. 6" alone is only its second half."""
    parted = index > 1 and (TITLE_TAIL.fullmatch(lines[index]) or CATALOGUE.match(lines[index]))
    return index - 1 if parted and not is_life(lines[index - 1]) else index


def _title_end(lines: Lines, start: int) -> int:
    """The line below the title and its instrumentation."""
    body = start + 1
    while body < len(lines) and TITLE_TAIL.fullmatch(lines[body]):
        body += 1
    if body < len(lines):
        match = INSTRUMENTATION.fullmatch(lines[body])
        body += bool(match and not match["title"])
    return body


def _title_above_body(lines: Lines, labels: Labels) -> int | None:
    """The line above the first movement, fact or counts, where a name stands above that."""
    first = _first(
        lines, 2, lambda line: COUNT.fullmatch(line) or movement(line) or fact_label(line, labels)
    )
    while 2 < first < len(lines) and TIME.fullmatch(lines[first - 1]):
        first -= 1
    if first == len(lines) or is_prose(lines[first - 1]):
        return None
    if len([line for line in lines if COUNT.fullmatch(line)]) > 1:
        return None  # a list of works
    name = lines[first - 2]
    return first - 1 if is_name(name) and name.casefold() not in labels.navigation else None


def _is_body(line: str, labels: Labels) -> object:
    return (COUNT.fullmatch(line) or TIME.fullmatch(line) or movement(line)
            or fact_label(line, labels) or source(line, labels) or is_prose(line))  # fmt: skip


# ------------------------------------------------------------------------------------------------
# The blocks below it


def _rows_index(lines: Lines, body: int, labels: Labels) -> int:
    """Where the playlist begins: its counts or controls, else a time above a line of names."""
    index = _first(lines, body, lambda line: COUNT.fullmatch(line) or is_control(line, labels))
    if index < len(lines):
        return index
    for index in range(body, len(lines) - 1):
        if source(lines[index], labels):
            break
        match = LEADING_TIME.fullmatch(lines[index])
        below = match and (match[2] or lines[index + 1])
        if below and not movement(below) and not lines[index - 1].endswith(":"):
            return index
    return len(lines)


def _rows_end(lines: Lines, rows: int, end: int) -> int | None:
    """The line below the playlist, where each of the videos that it counts has a time."""
    match = COUNT.fullmatch(lines[rows]) if rows < end else None
    times = [index for index in range(rows, end) if LEADING_TIME.fullmatch(lines[index])]
    if match is None or not 0 < int(match[2]) <= len(times):
        return None
    last = times[int(match[2]) - 1]
    last += bool(TIME.fullmatch(lines[last]))  # the performers are on the line below their time
    last += 1
    if last < end and movement(lines[last]):
        last += 1 + lines[last].endswith(".") * (" " not in lines[last])
    return min(last, end)


def _facts(lines: Lines, body: int, end: int, labels: Labels) -> tuple[int, int]:
    """Where the facts of a page without playlist begin, and where prose may."""
    first, below = end, body
    for index in range(body, end):
        if fact_label(lines[index], labels):
            first, below = min(first, index), index + 1 + lines[index].endswith(":")
        elif index >= below and (source(lines[index], labels) or is_prose(lines[index])):
            break
    return first, min(below, end)


def _tail(lines: Lines, start: int, labels: Labels) -> tuple[int, int]:
    """Where the related composers and what follows them begin; the last such heading counts."""
    glossary = next(_headings(lines, start, len(lines), labels.glossary), len(lines))
    found = list(_headings(lines, start, glossary, labels.related))
    if not found:
        return glossary, glossary
    return found[-1], _first(lines, found[-1], lambda line: _is_foot(line, labels), glossary)


def _headings(lines: Lines, start: int, stop: int, label: str) -> Iterator[int]:
    """Where a label stands alone on its line, perhaps with a colon."""
    longest, label = len(label) + 2, label.casefold()
    for index in range(start, stop):
        line = lines[index]
        if len(line) <= longest and line.rstrip(": ").casefold() == label:
            yield index


def _is_foot(line: str, labels: Labels) -> bool:
    """Whether a line is of the foot that every page has."""
    return is_credit(line) or (
        line.casefold().startswith(labels.foot) and len(line.split()) <= FOOT_WORDS
    )
