"""Video references on a page, known by their shape and not by the attribute that carries them."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from lxml.etree import _Element

Named = tuple[str, str]  # (name of the value or "", the value)

YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
NUMBER = re.compile(r"\d{1,6}(\.\d{1,6})?", re.ASCII)
VALUE = re.compile(rf"|{NUMBER.pattern}|{YOUTUBE_ID.pattern}\d{{0,2}}", re.ASCII)
ARGUMENT = re.compile(r"'([^']*)'|\"([^\"]*)\"|([\w.-]+)", re.ASCII)
CARRIERS = re.compile(r"\{[^{}]*\}|\[[^\[\]{}]*\]|\([^(){}\[\]]*\)")  # flat ones, in a script
LINK = re.compile(r"(?:[?&]v=|youtu\.be/|/embed/)([\w-]{11})(\d{0,2})(?![\w-])", re.ASCII)
LINK_BOUND = re.compile(r"[?&](start|end)=(\d{1,6})", re.ASCII)
HINTS = ("next", "mov", "start", "end")  # of a value's name, and the order where it has none


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """What a playlist row hands to the player."""

    youtube_id: str
    video_id: str  # youtube_id and the movement's number
    movement: int | None = None
    start_s: float | None = None  # None = the beginning
    end_s: float | None = None  # None = to the end
    following: str | None = None  # video_id of the next part, "" after the last; None = not said


def references(root: _Element) -> list[Reference]:
    """Every video that `root` and what it holds refer to, in order, each once.

    Plain links count only where no row carries an id together with an id and movement.
    """
    found = [ref for values in _carried(root) if (ref := from_values(values))]
    found = found or [ref for link in _links(root) if (ref := from_link(link))]
    return list({ref.video_id: ref for ref in reversed(found)}.values())[::-1]


def from_values(values: Sequence[Named]) -> Reference | None:
    """The reference in a row's values: an 11-character id and the same id with a movement."""
    for place, (_, youtube_id) in enumerate(values):
        if not YOUTUBE_ID.fullmatch(youtube_id):
            continue
        for other, (_, video_id) in enumerate(values):
            suffix = video_id.removeprefix(youtube_id)
            if other != place and video_id.startswith(youtube_id) and _is_suffix(suffix):
                rest = [value for index, value in enumerate(values) if index not in (place, other)]
                return _reference(youtube_id, video_id, rest)
    return None


def from_link(link: str) -> Reference | None:
    """The reference in a watch, embed or short link, with or without a movement's number."""
    match = LINK.search(link)
    if match is None:
        return None
    youtube_id, suffix = match.groups()
    bounds = LINK_BOUND.findall(link)
    return _reference(youtube_id, youtube_id + suffix, bounds)


def _is_suffix(text: str) -> bool:
    return len(text) <= 2 and (not text or (text.isascii() and text.isdigit()))


def _reference(youtube_id: str, video_id: str, rest: Sequence[Named]) -> Reference:
    details = {hint: value for name, value in rest for hint in HINTS if hint in name.lower()}
    values = [value for _, value in rest if VALUE.fullmatch(value)]
    if not details and len(values) in (3, 4):
        details = dict(zip(HINTS[-len(values) :], values, strict=True))
    movement = video_id[11:] or details.get("mov", "")
    start_s, end_s = (_seconds(details.get(name)) for name in ("start", "end"))
    following = details.get("next")
    return Reference(
        youtube_id=youtube_id,
        video_id=video_id,
        movement=int(movement) if _is_suffix(movement) and movement else None,
        start_s=(start_s or 0.0) if start_s or end_s else None,
        end_s=end_s or None,
        following="" if following in ("0", "") else following,
    )


def _seconds(text: str | None) -> float | None:
    return float(text) if text and NUMBER.fullmatch(text) else None


def _carried(root: _Element) -> Iterator[list[Named]]:
    for element in root.iter("*"):
        named = [(str(name), str(value).strip()) for name, value in element.attrib.items()]
        yield [(name, value) for name, value in named if name.startswith("data-")]
        calls = (value for name, value in named if name.startswith("on"))
        yield from (_arguments(call.partition("(")[2]) for call in calls)
        if element.tag == "script":
            yield from map(_flat_values, CARRIERS.findall(element.text or ""))


def _arguments(inside: str) -> list[Named]:
    return [("", quoted or double or bare) for quoted, double, bare in ARGUMENT.findall(inside)]


def _flat_values(text: str) -> list[Named]:
    if not text.startswith("{"):
        return _arguments(text[1:-1])
    try:
        return [(name, str(item).strip()) for name, item in json.loads(text).items()]
    except ValueError:
        return []


def _links(root: _Element) -> Iterator[str]:
    for element in root.iter("*"):
        yield from (str(element.attrib[name]) for name in ("href", "src") if name in element.attrib)
