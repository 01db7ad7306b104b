"""Video references on a page, known by their shape and not by the attribute that carries them."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache

from lxml import etree

logger = logging.getLogger(__name__)

Named = tuple[str, str]  # (name of the value or "", the value)
Carried = tuple["Reference", etree._Element]  # a reference and the element that carries it

IDENTIFIER = re.compile(r"[\w-]{11,12}", re.ASCII)
NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
FOLLOWING = re.compile(rf"|0|{IDENTIFIER.pattern}\d{{0,2}}", re.ASCII)
MACHINE = re.compile(rf"{FOLLOWING.pattern}|{NUMBER.pattern}", re.ASCII)
TOKEN = re.compile(
    r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[\w.+-]+|[()\[\]{}:,;]"""
)  # of a script or a call: strings, words, numbers, what holds them together
QUOTED = re.compile(  # an id and the id with a movement within one object or call
    r"""(['"])([\w-]{11,12})\1.{0,200}?['"]\2\d{0,2}['"]|"""
    r"""['"]([\w-]{11,12})\d{1,2}['"].{0,200}?['"]\3['"]""",
    re.ASCII | re.DOTALL,
)
LINK = re.compile(r"(?:[?&]v=|youtu\.be/|/embed/)([\w-]{11})(\d{0,2})(?![\w-])", re.ASCII)
LINKED = re.compile(r"""["']([^"'\s]*(?:[?&]v=|youtu\.be/|/embed/)[^"'\s]*)["']""")
LINK_BOUND = re.compile(r"[?&](start|end)=(\d{1,6})", re.ASCII)
LONE = re.compile(r"[\w-]{11}\d{0,2}", re.ASCII)
HINTS = ("next", "mov", "start", "end")  # of a value's name, and the order where it has none
NAME_PARTS = re.compile(r"[^A-Za-z]+|(?<=[a-z])(?=[A-Z])")
# An element with an attribute long enough for an id; the rest need not be looked at.
CANDIDATES = etree.XPath("descendant-or-self::*[@*[string-length(.) > 10]]")
SCRIPTS = etree.XPath("descendant-or-self::script[text()]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a playlist row hands to the player."""

    youtube_id: str
    video_id: str  # as printed: youtube_id and the movement's number
    movement: int | None = None
    start_s: float | None = None  # None = the beginning
    end_s: float | None = None  # None = to the end
    following: str | None = None  # video_id of the next part, "" after the last; None = not said


def references(root: etree._Element) -> list[Reference]:
    """Every video that `root` and what it holds refer to, in order, each once."""
    return unique([reference for reference, _ in carried(root)])


def unique(found: Sequence[Reference]) -> list[Reference]:
    """References in their order, of each video the first."""
    return list({ref.video_id: ref for ref in reversed(found)}.values())[::-1]


def carried(root: etree._Element) -> list[Carried]:
    """Every reference with its carrier, in the page's order; one video may be named repeatedly.

    Plain links count only where nothing carries an id together with an id and movement.
    """
    found = [(ref, at) for values, at in _value_lists(root) if (ref := from_values(values))]
    return found or [(ref, at) for link, at in _links(root) if (ref := from_link(link))]


def from_element(element: etree._Element) -> Reference | None:
    """The reference of an element that is known to carry one: a lone id is enough."""
    if found := carried(element):
        return found[0][0]
    values = [str(value).strip() for item in element.iter("*") for value in item.attrib.values()]
    calls = [value for text in values for named in literals(text) for _, value in named]
    lone = next((value for value in [*values, *calls] if LONE.fullmatch(value)), None)
    return _reference(lone[:11], lone, []) if lone else None


def from_values(values: Sequence[Named]) -> Reference | None:
    """The reference in a row's values: an 11-character id and the same id with a movement.

    An id of 12 characters is a slip of the site; its first 11 are offered.
    """
    for length in (11, 12):
        if pair := _pair(values, length):
            youtube_id, video_id = values[pair[0]][1], values[pair[1]][1]
            if length == 12:
                logger.warning("%s is no video id: its first 11 characters are taken", youtube_id)
            return _reference(youtube_id, video_id, _details(values, pair))
    return None


def _pair(values: Sequence[Named], length: int) -> tuple[int, int] | None:
    """Places of the id and of the id with a movement."""
    for place, (name, youtube_id) in enumerate(values):
        if len(youtube_id) != length or _hint(name) or not IDENTIFIER.fullmatch(youtube_id):
            continue
        for other, (name, video_id) in enumerate(values):
            if other == place or _hint(name) or not video_id.startswith(youtube_id):
                continue
            suffix = video_id[length:]
            if _is_suffix(suffix) and (suffix or length == 11):
                return place, other
    return None


def _details(values: Sequence[Named], pair: tuple[int, int]) -> list[Named]:
    """What else the row says, by the names of the values or else by their order."""
    named = [(hint, value) for name, value in values if (hint := _hint(name))]
    if named or any(name for name, _ in values):
        return named
    machine: list[str] = []
    for _, value in values[max(pair) + 1 :]:
        if not MACHINE.fullmatch(value):
            break  # from here on the row says what is displayed
        machine.append(value)
    count = 4 if len(machine) >= 4 and FOLLOWING.fullmatch(machine[0]) else 3
    return list(zip(HINTS[-count:], machine, strict=False)) if len(machine) >= count else []


@lru_cache(maxsize=4096)
def _hint(name: str) -> str | None:
    """What a value's name says about it: "data-next-video" and "nextVideo" both say "next"."""
    parts = [part.lower() for part in NAME_PARTS.split(name)]
    return next((hint for hint in HINTS if any(part.startswith(hint) for part in parts)), None)


def from_link(link: str) -> Reference | None:
    """The reference in a watch, embed or short link, with or without a movement's number."""
    match = LINK.search(link)
    if match is None:
        return None
    youtube_id, suffix = match.groups()
    return _reference(youtube_id, youtube_id + suffix, LINK_BOUND.findall(link))


def _is_suffix(text: str) -> bool:
    return len(text) <= 2 and (not text or (text.isascii() and text.isdigit()))


def _reference(youtube_id: str, video_id: str, details: Sequence[Named]) -> Reference:
    told = dict(details)
    movement = video_id[len(youtube_id) :] or told.get("mov", "")
    start_s, end_s = (_seconds(told.get(name)) or 0.0 for name in ("start", "end"))
    following = told.get("next")
    return Reference(
        youtube_id=youtube_id[:11],
        video_id=video_id,
        movement=int(movement) if _is_suffix(movement) and movement else None,
        start_s=start_s if start_s or end_s else None,
        end_s=end_s if end_s > start_s else None,
        following="" if following in ("0", "") else following,
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text and NUMBER.fullmatch(text) else None


def literals(script: str) -> Iterator[list[Named]]:
    """The strings, words and numbers in each pair of brackets of a script, innermost first."""
    stack: list[list[Named]] = [[]]
    name = ""
    for token in TOKEN.findall(script):
        if token in "([{":
            stack.append([])
        elif token in ")]}":
            if len(stack) > 1:
                yield stack.pop()
        elif token == ":":
            name = stack[-1].pop()[1] if stack[-1] else ""
            continue
        elif token not in ",;":
            stack[-1].append((name, _unquoted(token)))
        name = ""
    yield from reversed(stack)


def _unquoted(token: str) -> str:
    inside = token[1:-1] if token[0] in "'\"" else token
    return inside.replace("\\/", "/").strip()


def _value_lists(root: etree._Element) -> Iterator[tuple[list[Named], etree._Element]]:
    """Values that stand together: an element's attributes, a call's arguments, an object."""
    found: list[etree._Element] = CANDIDATES(root)
    for element in found:
        named = [(str(name), str(value).strip()) for name, value in element.attrib.items()]
        if len(named) > 1:
            yield named, element
        for _, value in named:
            if len(value) > 25 and QUOTED.search(value):
                yield from ((values, element) for values in literals(value))
    for script in SCRIPTS(root):
        text = script.text or ""
        if QUOTED.search(text):
            yield from ((values, script) for values in literals(text))


def _links(root: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    for element in CANDIDATES(root):
        yield from ((str(value), element) for value in element.attrib.values())
    for script in SCRIPTS(root):
        text = (script.text or "").replace("\\/", "/")
        yield from ((link, script) for link in LINKED.findall(text))
