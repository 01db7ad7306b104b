"""The prose of a work page: where an essay begins and ends, and whose it is."""

import re

from crawler.grammar import DATES, TIME, Labels, Lines, movement
from crawler.items import Note

SOURCE = re.compile(
    r"From:? ((?:the )?(?=[^a-z]).{0,79}[^\s.!?,;:])"
)  # a sentence ends with a stop
TITLE_YEAR = re.compile(r"(?P<title>.+) \((?:c\. ?)?\d{4}(?:[-\u2013]\d{4})?\)")
SENTENCE_END = re.compile(r"[.!?\u2026][\"'\u201d\u2019)]*$")
CLOSING = tuple(".!?\u2026\"'\u201d\u2019)")
INLINE_CREDIT = re.compile(
    r"(.*[.!?\u2026][\"'\u201d\u2019)]*) ((?:©|\([cC]\)).*rights reserved\.?)"
)
OTHERS = ("et. al.", "et al.")  # how a line of performers ends, but no sentence
PROSE_WORDS, HEADED_WORDS = 12, 5  # the least words of a paragraph: alone, and below a heading
SENTENCE_WORDS = 3  # and of one where nothing but prose is expected


def source(line: str, labels: Labels) -> str | None:
    """The source that 'From Edition Silvertrust' names; with a colon behind it, a known one."""
    match = SOURCE.fullmatch(line.removesuffix(":")) if line.startswith("From") else None
    if match is None or (line.endswith(":") and not _is_known(match[1], labels)):
        return None
    return match[1]


def _is_known(name: str, labels: Labels) -> bool:
    return name.removeprefix("the ") in labels.sources


def is_prose(line: str, least: int = PROSE_WORDS) -> bool:
    """Whether a line is a paragraph: long enough, ended, and mostly of words in lower case."""
    if not line.endswith(CLOSING) or line.endswith(OTHERS):
        return False
    words = line.split()
    if len(words) < least or not SENTENCE_END.search(line):
        return False
    return 2 * sum(word[0].islower() for word in words) > len(words)


def is_sentence(line: str) -> bool:
    """Whether a line may be a short paragraph, where no playlist and no list is expected."""
    ended = line.endswith(":") or (SENTENCE_END.search(line) and not line.endswith(OTHERS))
    words = line.split()
    return bool(
        ended and len(words) >= SENTENCE_WORDS
        and any(word[0].islower() for word in words[1:]) and not movement(line)
    )  # fmt: skip


def is_credit(line: str) -> bool:
    """Whether a line says who holds the rights."""
    if line.startswith("Copyright "):
        return line.endswith(("rights reserved.", "rights reserved"))
    return line.startswith(("©", "(c) ", "(C) "))


def opening(lines: Lines, index: int, title: str) -> int | None:
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


def begin(lines: Lines, start: int, end: int, title: str, labels: Labels, *, bare: bool) -> int:
    """Where the notes begin in [start, end): a source, a heading of an own essay, or a paragraph.

    The short paragraphs right above the first long one belong to it. `bare`: nothing but prose
    can stand from `start` on, so a sentence is enough.
    """
    for index in range(start, end):
        timed = index > start and TIME.fullmatch(lines[index - 1])
        if source(lines[index], labels):
            return index
        if not timed and opening(lines, index, title) is not None:
            return _above(lines, start, index)
        if bare and is_sentence(lines[index]):
            return index
    return end


def _above(lines: Lines, start: int, index: int) -> int:
    """The first of the sentences right above a paragraph; below a time stands no sentence."""
    while index - 1 > start and is_sentence(lines[index - 1]):
        if TIME.fullmatch(lines[index - 2]):
            break
        index -= 1
    return index


def notes(lines: Lines, labels: Labels, title: str) -> tuple[Note, ...]:
    """The prose, one note a source; what follows a note's credit belongs to none.

    Prose of the site's own names no source: it begins below a heading or is a paragraph. A heading
    inside a note that looks like a source is one only where the site is known to print it, or
    where the credit below it names it.
    """
    lines = _parted_credits(lines)
    found: list[tuple[str, list[str]]] = []
    open_ = False  # whether the last note still takes lines
    first = next((index for index, line in enumerate(lines) if is_sentence(line)), len(lines))
    index = 0
    while index < len(lines):
        name = source(lines[index], labels)
        if name and (not open_ or _parts(found[-1], name, lines[index:], labels)):
            found.append((name, []))
            open_ = True
        elif open_:
            found[-1][1].append(lines[index])
            open_ = not is_credit(lines[index])
        elif (own := opening(lines, index, title)) is not None or first == index == 0:
            index = index if own is None else own
            found.append((labels.own, [lines[index]]))
            open_ = True
        index += 1
    return tuple(note(name, texts) for name, texts in found if texts)


def _parts(above: tuple[str, list[str]], name: str, below: Lines, labels: Labels) -> bool:
    """Whether a source inside an open note begins another: it is known, or credited below.

    An essay of the site's own has no credit, so any credit below one is that of the source; and
    what holds no long paragraph is hardly an essay.
    """
    credit = next(filter(is_credit, below), "")
    if above[0] == labels.own and (credit or not any(map(is_prose, above[1]))):
        return True
    return not above[1] or name.removeprefix("the ") in credit or _is_known(name, labels)


def _parted_credits(lines: Lines) -> list[str]:
    """The lines, a credit behind a paragraph on a line of its own."""
    parted: list[str] = []
    for line in lines:
        match = INLINE_CREDIT.fullmatch(line) if "rights reserved" in line else None
        parted += match.groups() if match else (line,)
    return parted


def note(source: str, texts: Lines) -> Note:
    """A note from its paragraphs and, perhaps, the credit below them."""
    credit = texts[-1] if is_credit(texts[-1]) else None
    return Note(source=source, text="\n\n".join(texts[:-1] if credit else texts), credit=credit)
