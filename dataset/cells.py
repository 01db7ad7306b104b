"""What one cell of a person's table says: a text, a file, an address with its times, a time."""

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import time
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import SplitResult, parse_qs, urlsplit

from crawler.records import amount

WATCH = "https://www.youtube.com/watch?v={id}"
YOUTUBE = frozenset(
    f"{prefix}{host}"
    for host in ("youtube.com", "youtube-nocookie.com", "youtu.be")
    for prefix in ("", "www.", "m.", "music.")
)
YOUTUBE_ID = re.compile(r"[\w-]{11}", re.ASCII)
NO_IDS = ("videoseries", "live_stream")  # of 11 characters, where an id may stand
PLAYERS = ("embed", "v", "e", "shorts", "live")  # folders of addresses that end in an id
OFFSET = re.compile(r"(?=\d)(?:(\d+)h)?(?:(\d+)m)?(?:(\d+)s)?", re.ASCII)
Row = Mapping[str, Any]


class RowError(ValueError):
    """A row that gives no pair; its argument is the reason."""


@dataclass(frozen=True, slots=True)
class Address:
    """Where a recording is, and which stretch of it the address names."""

    url: str
    youtube_id: str | None = None
    start: str = ""  # as the address has it; "" = it does not say
    end: str = ""


def is_empty(value: object) -> bool:
    """Whether a cell holds nothing: null, empty text or not-a-number."""
    return value is None or value == "" or (isinstance(value, float) and math.isnan(value))


def is_plain(value: object) -> bool:
    """Whether a cell holds a text, a number or a time of day: no list, bytes, truth value ..."""
    return isinstance(value, str | int | float | Decimal | time) and not isinstance(value, bool)


def cell(row: Row, column: str | None) -> str:
    """A value as text that can be written; "" for none, an empty cell and what is not plain."""
    value = row.get(column) if column is not None else None
    if is_empty(value) or not is_plain(value):
        return ""
    return str(value).encode("utf-8", "replace").decode().strip()  # JSON: half characters


def local_address(table: Path, name: str) -> str:
    """The file: address of an audio file, relative to the table's folder."""
    if not name:
        raise RowError("no_file")
    try:
        path = (table.parent / name).resolve()
        if not path.is_file():
            raise RowError("no_file")
    except (OSError, ValueError) as error:  # a name that no file can have
        raise RowError("no_file") from error
    return path.as_uri()


def web_address(text: str) -> Address:
    """An http address or a bare YouTube id; one of YouTube must name one video."""
    if YOUTUBE_ID.fullmatch(text):
        return Address(WATCH.format(id=text), text)
    try:
        if text.removeprefix("//").split("/")[0].lower().rstrip(".") in YOUTUBE:
            text = f"https://{text.removeprefix('//')}"
        parts = urlsplit(text)
        host = (parts.hostname or "").rstrip(".")
    except ValueError as error:
        raise RowError("no_address") from error
    if parts.scheme not in ("http", "https") or not host or not text.isprintable():
        raise RowError("no_address")
    return youtube_address(parts) if host in YOUTUBE else Address(text)


def youtube_address(parts: SplitResult) -> Address:
    """The video that an address of YouTube names; a channel or a playlist is none."""
    query = parse_qs(parts.query)
    said = {**query, **parse_qs(parts.fragment)}
    folders = [name for name in parts.path.split("/") if name]
    if "youtu.be" in (parts.hostname or ""):
        found = folders[:1]
    else:
        found = folders[1:2] if folders[:1] and folders[0] in PLAYERS else query.get("v", [])
    if not found or not YOUTUBE_ID.fullmatch(found[0]) or found[0] in NO_IDS:
        raise RowError("no_address")
    start, end = (said.get("t") or said.get("start") or [""])[0], (said.get("end") or [""])[0]
    return Address(WATCH.format(id=found[0]), found[0], "" if start == "0" else start, end)


def read_seconds(text: str) -> float | None:
    """Seconds of a number, of [h:]m:ss or of 1h2m3s; None for an empty cell."""
    if not text:
        return None
    offset = OFFSET.fullmatch(text)
    try:
        if offset:
            hours, minutes, rest = (int(group or 0) for group in offset.groups())
            return float(3600 * hours + 60 * minutes + rest)
        number = amount(text)
    except (ValueError, OverflowError) as error:
        raise RowError("bad_number") from error
    if number < 0:
        raise RowError("bad_number")
    return number
