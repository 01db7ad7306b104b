"""Prose -> its sentences, as they stand there."""

import re
from itertools import pairwise

import sentencex

from dataset.tags import TERMS, term

PARAGRAPH = re.compile(r"\n\s*\n")
# What a full stop belongs to where no sentence ends: an abbreviation, a number's name, an initial.
ABBREVIATIONS = frozenset("e.g i.e cf ca c dr mr mrs ms st prof vol vs mme bd viz approx".split())
NUMBERED = frozenset("no nos op opp hob k kv d b woo bwv p pp bar bars mov mvt nr opus sz".split())
KEY = ("in", "major", "minor")  # a single capital behind "in" is a key and no initial: "in C."
MANNER = frozenset("cantabile con espressivo grazioso maestoso mesto molto poco sostenuto".split())
AGAIN = re.compile(  # ends that sentencex lets pass: "in G. A horn", "for now … Then", "(so.) All"
    r"(?:(?<=\bin [A-G]\.)|(?<=…)|(?<=[.!?][)\]]))\s+(?=[\"“(]?[A-Z])"
)
CLOSING = tuple(")]”’")
OPENED = re.compile(r"\s[\"“]$")  # a quotation mark that belongs to what follows
NUMERAL = re.compile(r"\d+|[IVX]{1,5}")
HEADING_WORDS, SENTENCE_ENDS = 8, ".!?…\"'”’)]"
UNPAIRED = str.maketrans('"“”', "   ")


def paragraphs(text: str) -> list[list[str]]:
    """The sentences of each paragraph; none is empty.

    A heading belongs to the first sentence below it: "Second movement: Adagio".
    """
    found: list[list[str]] = []
    heading = ""
    for paragraph in map(str.strip, PARAGRAPH.split(text)):
        if paragraph and not is_heading(paragraph):
            found.append(sentences(f"{heading} {paragraph}" if heading else paragraph))
            heading = ""
        elif paragraph:
            heading = f"{heading} {paragraph}".strip()
    return [one for one in [*found, sentences(heading)] if one]


def is_heading(paragraph: str) -> bool:
    """Whether a paragraph is too short for a sentence, and ends as none does."""
    return len(paragraph.split()) <= HEADING_WORDS and paragraph[-1] not in SENTENCE_ENDS


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph, without the white space between them.

    sentencex cuts; what it cuts within a number, a name or a movement's title is joined again.
    """
    found: list[str] = []
    for piece in _pieces(text):
        if found and not ends_sentence(found[-1], piece):
            found[-1] += piece
        else:
            found.append(piece)
    return [stripped for one in found if (stripped := one.strip())]


def _pieces(text: str) -> list[str]:
    """A text cut wherever a sentence may end, with all its white space."""
    cuts, at = {0, len(text), *(match.end() for match in AGAIN.finditer(text))}, 0
    for piece in sentencex.segment("en", _plain(text)):
        at += len(piece)
        cuts.add(at - 1 if OPENED.search(text[max(at - 2, 0) : at]) else at)
    return [text[start:end] for start, end in pairwise(sorted(cuts))]


def _plain(text: str) -> str:
    """A text of as many characters that sentencex can read.

    Half characters are "?", and quotation marks that do not pair off are blanks: sentencex would
    take all that follows one for what is quoted.
    """
    plain = text.encode(errors="replace").decode()
    paired = plain.count('"') % 2 == 0 and plain.count("“") == plain.count("”")
    return plain if paired else plain.translate(UNPAIRED)


def ends_sentence(before: str, after: str) -> bool:
    """Whether a sentence ends between two pieces of text."""
    after = after.lstrip()
    if after.startswith(CLOSING):
        return False
    words = before[-80:].split()
    last = words[-1].lstrip("(“\"'") if words else ""
    bare = last.rstrip(".")
    if not last.endswith("."):
        return True
    if len(words) == 1 and NUMERAL.fullmatch(bare):  # "1. The opening", "II. Adagio"
        return False
    short = bare.lower()
    if (short in ABBREVIATIONS and bare != "C") or (short in NUMBERED and after[:1].isdigit()):
        return False
    if len(bare) == 1 and bare.isupper():
        return len(words) > 1 and words[-2].lower() in KEY
    following = re.match(r"\w+", after)
    if following is None or term(bare) not in TERMS:
        return True
    return term(following[0]) not in TERMS | MANNER  # "Menuetto. Allegretto"
