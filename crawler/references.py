"""Video references on a page, known by their shape and not by the attribute that carries them."""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from urllib.parse import urlsplit

from lxml import etree

from crawler.errors import UserError
from crawler.urls import page_key

logger = logging.getLogger(__name__)

Named = tuple[str, str]  # (name of the value or "", the value)
Carried = tuple["Reference", etree._Element]  # a reference and the element that carries it

IDENTIFIER = re.compile(r"[\w-]{11,12}", re.ASCII)
NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
FOLLOWING = re.compile(rf"|0|{IDENTIFIER.pattern}\d{{0,2}}", re.ASCII)
MACHINE = re.compile(rf"{FOLLOWING.pattern}|{NUMBER.pattern}", re.ASCII)
TOKEN = re.compile(
    r""""(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|[\w.+-]+|[()\[\]{}:,]"""
)  # of a script or a call: strings, words, numbers, what holds them together
QUOTED = re.compile(r"""["']([\w-]{11,14})\\*["']""", re.ASCII)
ESCAPE = re.compile(r"\\(?:u([\da-fA-F]{4})|x([\da-fA-F]{2})|(.))", re.DOTALL)
LINK = re.compile(r"(?:[?&]v=|youtu\.be/|/embed/)([\w-]{11})(\d{0,2})(?![\w-])", re.ASCII)
LINKED = re.compile(r"""["']([^"'\s]*(?:[?&]v=|youtu\.be/|/embed/)[^"'\s]*)["']""")
YOUTUBE = re.compile(r"(?:^|\.)youtube(?:-nocookie)?\.com$")  # the host's name
THUMBNAIL = re.compile(r"(?:ytimg|img\.youtube)\.com/vi(?:_webp)?/([\w-]{11})/", re.ASCII)
LINK_BOUND = re.compile(r"[?&](start|end)=(\d{1,6})", re.ASCII)
LONE = re.compile(r"[\w-]{11}\d{0,2}", re.ASCII)
PAGE_NAMES = ("id", "class", "name", "for")  # attributes that any element may have ...
OWN = "(own)"  # ... and what their values are named here
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

    @property
    def key(self) -> tuple[str, float | None, int | None]:
        """What tells it from the others: one video may hold several movements."""
        return self.video_id, self.start_s, self.movement

    @property
    def is_bare(self) -> bool:
        """Whether it says nothing but which video."""
        return self.start_s is None and self.end_s is None and self.following is None


def references(root: etree._Element, url: str = "") -> list[Reference]:
    """Every video that `root` and what it holds refer to, in order, each once."""
    return unique([reference for reference, _ in carried(root, url)])


def unique(found: Sequence[Reference]) -> list[Reference]:
    """References in their order, each once: of one stretch the first that says more than the id."""
    told = {ref.video_id for ref in found if not ref.is_bare}
    kept = [ref for ref in found if not ref.is_bare or ref.video_id not in told]
    return list({ref.key: ref for ref in reversed(kept)}.values())[::-1]


def carried(root: etree._Element, url: str = "") -> list[Carried]:
    """Every reference with its carrier, in the page's order; one video may be named repeatedly.

    Plain links count only where nothing carries an id together with an id and movement, and
    thumbnails only where there is no link either. `url` is the page's address.
    """
    found = [(ref, at) for values, at in _value_lists(root) if (ref := from_values(values))]
    return found or _linked(root, url) or _shown(root)


def _linked(root: etree._Element, url: str) -> list[Carried]:
    return [(ref, at) for link, at in _links(root) if (ref := from_link(link, url))]


def _shown(root: etree._Element) -> list[Carried]:
    return [
        (_reference(match[1], match[1], []), at)
        for link, at in _links(root)
        if (match := THUMBNAIL.search(link))
    ]


def from_element(element: etree._Element, url: str = "") -> Reference | None:
    """The reference of an element that is known to carry one: a lone id is enough."""
    found = [ref for values, _ in _value_lists(element) if (ref := from_values(values))]
    if not found:
        found = [ref for ref, _ in _linked(element, url)]
        found += [ref for values in _lone_lists(element) if (ref := _from_lone(values))]
        found += [ref for ref, _ in _shown(element)]
    return next((ref for ref in found if not ref.is_bare), found[0] if found else None)


def _lone_lists(element: etree._Element) -> Iterator[list[Named]]:
    """The values of all attributes together, then what the calls and objects in them hold."""
    named = [
        (str(name), str(value).strip())
        for item in element.iter("*")
        for name, value in item.attrib.items()
        if name not in PAGE_NAMES
    ]
    yield named
    for _, value in named:
        yield from literals(value)
    yield [("", str(value)) for value in element.xpath("descendant-or-self::*/@id")]


def _from_lone(values: Sequence[Named]) -> Reference | None:
    for place, (name, value) in enumerate(values):
        if LONE.fullmatch(value) and not (name and _hint(name)):
            return _reference(value[:11], value, _details(values, (place, place)))
    return None


def from_values(values: Sequence[Named]) -> Reference | None:
    """The reference in a row's values: an 11-character id and the same id with a movement.

    An id of 12 characters is a slip of the site; its first 11 are offered. Two equal values, or one
    that any element may have, need a movement, a bound or a next video beside them: a page's own
    names have the shape of an id too.
    """
    places = [
        place
        for place, (name, value) in enumerate(values)
        if 11 <= len(value) <= 14 and not (name and _hint(name))
    ]
    for length in (11, 12) if len(places) > 1 else ():
        if pair := _pair(values, places, length):
            youtube_id, video_id = values[pair[0]][1], values[pair[1]][1]
            details = _details(values, pair)
            if not _is_video(values, pair, details):
                continue
            if length == 12:
                logger.warning("%s is no video id: its first 11 characters are taken", youtube_id)
            return _reference(youtube_id, video_id, details)
    return None


def _is_video(values: Sequence[Named], pair: tuple[int, int], details: Sequence[Named]) -> bool:
    (one, first), (other, second) = (values[place] for place in pair)
    page_named = OWN in (one, other)
    if first != second and not page_named:
        return True
    told = any(value and MACHINE.fullmatch(value) for _, value in details)
    return told and not (first == second and page_named)


def _pair(values: Sequence[Named], places: Sequence[int], length: int) -> tuple[int, int] | None:
    """Places of the id and of the id with a movement, among those that may be."""
    for place in places:
        youtube_id = values[place][1]
        if len(youtube_id) != length or not IDENTIFIER.fullmatch(youtube_id):
            continue
        for other in places:
            video_id = values[other][1]
            suffix = video_id[length:]
            fits = other != place and video_id.startswith(youtube_id) and _is_suffix(suffix)
            if fits and (suffix or length == 11):
                return place, other
    return None


def _details(values: Sequence[Named], pair: tuple[int, int]) -> list[Named]:
    """What else the row says, by the names of the values or else by their order."""
    if any(name for name, _ in values):
        return [(hint, value) for name, value in values if (hint := _hint(name))]
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


def from_link(link: str, url: str = "") -> Reference | None:
    """The reference in a watch, embed or short link, with or without a movement's number.

    `?v=` counts on YouTube and on the page's own address `url` alone: it may be any version.
    """
    for match in LINK.finditer(link):
        youtube_id, suffix = match.groups()
        if match[0][0] not in "?&" or _may_watch(link, url):
            return _reference(youtube_id, youtube_id + suffix, LINK_BOUND.findall(link))
    return None


def _may_watch(link: str, url: str) -> bool:
    try:
        split = urlsplit(link)
        if YOUTUBE.search(split.hostname or "") or split.path in ("", "/watch"):
            return True
        return bool(url) and page_key(split.path) == page_key(url)
    except (UserError, ValueError):  # no page of the site, or no address at all
        return False


def _is_suffix(text: str) -> bool:
    return len(text) <= 2 and (not text or (text.isascii() and text.isdigit()))


def _reference(youtube_id: str, video_id: str, details: Sequence[Named]) -> Reference:
    told = dict(details)
    movement = video_id[len(youtube_id) :] or told.get("mov", "")
    if video_id == youtube_id and _is_suffix(movement):
        video_id += movement
    start_s, end_s = _seconds(told.get("start")), _seconds(told.get("end"))
    following = told.get("next")
    if following in ("null", "undefined"):
        following = None
    return Reference(
        youtube_id=youtube_id[:11],
        video_id=video_id,
        movement=int(movement) if _is_suffix(movement) and movement else None,
        start_s=start_s if start_s or end_s else None,
        end_s=end_s if end_s > start_s else None,
        following="" if following in ("0", "") else following,
    )


def _seconds(text: str | None) -> float:
    return float(text) if text and text != "0" and NUMBER.fullmatch(text) else 0.0


def literals(script: str) -> Iterator[list[Named]]:
    """The strings, words and numbers in each pair of brackets of a script, innermost first."""
    stack: list[list[Named]] = [[]]
    name = ""
    for token in TOKEN.findall(script):
        if token == ",":
            name = ""
        elif token[0] in "'\"":
            text = token[1:-1]
            if len(text) > 25 and may_carry(text):
                yield from literals(unescaped(text))  # a script's text within a text
            stack[-1].append((name, text.replace("\\/", "/").strip()))
            name = ""
        elif token in "([{":
            stack.append([])
            name = ""
        elif token in ")]}":
            if len(stack) > 1:
                yield stack.pop()
            name = ""
        elif token == ":":
            name = stack[-1].pop()[1] if stack[-1] else ""
        else:
            stack[-1].append((name, token))
            name = ""
    yield from reversed(stack)


def may_carry(script: str) -> bool:
    """Whether a script's text, perhaps escaped, holds an id and the id with a movement."""
    if "u0022" in script or "x22" in script:
        script = unescaped(script)
    ids = QUOTED.findall(script)
    once = set(ids)
    return len(once) < len(ids) or any(
        len(text) > length and text[:length] in once for text in once for length in (11, 12)
    )


def unescaped(text: str) -> str:
    """A string's text without its escapes; a letter behind a backslash stands for itself."""
    return ESCAPE.sub(lambda match: match[3] or chr(int(match[1] or match[2], 16)), text)


def _value_lists(root: etree._Element) -> Iterator[tuple[list[Named], etree._Element]]:
    """Values that stand together: an element's attributes, a call's arguments, an object."""
    found: list[etree._Element] = CANDIDATES(root)
    for element in found:
        named = [
            (OWN if name in PAGE_NAMES else str(name), str(value).strip())
            for name, value in element.items()
        ]
        if len(named) > 1:
            yield named, element
        for _, value in named:
            if len(value) > 25 and QUOTED.search(value):
                yield from ((values, element) for values in literals(value))
    for script in SCRIPTS(root):
        text = script.text or ""
        if may_carry(text):
            yield from ((values, script) for values in literals(text))


def _links(root: etree._Element) -> Iterator[tuple[str, etree._Element]]:
    for element in CANDIDATES(root):
        yield from ((str(value), element) for value in element.attrib.values())
    for script in SCRIPTS(root):
        text = (script.text or "").replace("\\/", "/")
        yield from ((link, script) for link in LINKED.findall(text))
