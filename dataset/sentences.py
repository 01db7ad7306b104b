"""Prose -> its sentences, as they stand there."""

import re
from collections.abc import Iterator

import sentencex

from dataset.tags import TERMS, term

PARAGRAPH = re.compile(r"\n\s*\n")
# What a full stop belongs to where no sentence ends: an abbreviation, a number's name, an initial.
ABBREVIATIONS = frozenset("e.g i.e cf ca c dr mr mrs ms st prof vol vs mme bd viz approx".split())
NUMBERED = frozenset("no nos op opp hob k kv d b woo bwv p pp bar bars mov mvt nr opus sz".split())
KEY = ("in", "major", "minor")  # a single capital behind "in" is a key and no initial: "in C."


def paragraphs(text: str) -> list[list[str]]:
    """The sentences of each paragraph; none is empty."""
    found = [sentences(paragraph) for paragraph in PARAGRAPH.split(text)]
    return [one for one in found if one]


def sentences(text: str) -> list[str]:
    """The sentences of one paragraph, without the white space between them.

    sentencex cuts; what it cuts within a number, a name or a movement's title is joined again.
    """
    found: list[str] = []
    for piece in _pieces(text):
        if found and not ends_sentence(found[-1], piece):
            found[-1] += f" {piece}"
        else:
            found.append(piece)
    return found


def _pieces(text: str) -> Iterator[str]:
    for piece in sentencex.segment("en", text):
        if stripped := piece.strip():
            yield stripped


def ends_sentence(before: str, after: str) -> bool:
    """Whether a sentence ends between two pieces of text."""
    words = before[-80:].split()
    last = words[-1].lstrip("(“\"'") if words else ""
    bare = last.rstrip(".")
    if not last.endswith("."):
        return True
    if bare.lower() in ABBREVIATIONS or (bare.lower() in NUMBERED and after[:1].isdigit()):
        return False
    if len(bare) == 1 and bare.isupper():
        return len(words) > 1 and words[-2].lower() in KEY
    following = re.match(r"\w+", after)
    return not (following and {term(bare), term(following[0])} <= TERMS)  # "Menuetto. Allegretto"
