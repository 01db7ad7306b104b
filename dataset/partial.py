"""What a broken transfer leaves, and whether the server's file is still the one it is part of."""

import dataclasses
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

PART, KNOWN = ".part", ".part.json"  # ends of the names of a part and of what is known of it


@dataclass(frozen=True, slots=True)
class Whole:
    """The file that a part belongs to, as the server told of it."""

    name: str  # of the recording and its format
    num_bytes: int
    etag: str | None
    last_modified: str | None

    @property
    def condition(self) -> str | None:
        """For the If-Range header; None when nothing tells one file from another."""
        weak = self.etag is None or self.etag.startswith("W/")
        return self.last_modified if weak else self.etag


def whole_of(name: str, status: int, headers: Mapping[str, str]) -> Whole | None:
    """The file that an answer is about; None when its size is not told."""
    size = headers.get("Content-Length")
    if status == 206:
        size = (content_range(headers) or (None, None))[1]
    if size is None or not size.isdigit() or headers.get("Content-Encoding"):
        return None
    return Whole(name, int(size), headers.get("ETag"), headers.get("Last-Modified"))


def first_byte(wanted: str | None) -> int:
    """Where a Range header begins; 0 without one."""
    match = re.match(r"bytes=(\d+)-", wanted or "")
    return int(match[1]) if match else 0


def content_range(headers: Mapping[str, str]) -> tuple[int, str] | None:
    """First byte and size of the whole ("*" = unknown), as the answer to a Range has them."""
    match = re.fullmatch(r"bytes (\d+)-\d+/(\d+|\*)", headers.get("Content-Range") or "")
    return (int(match[1]), match[2]) if match else None


def continues(known: Whole, start: int, status: int, headers: Mapping[str, str]) -> bool:
    """Whether an answer is the rest, from byte `start` on, of the file that is known."""
    found = whole_of(known.name, status, headers)
    span = content_range(headers)
    if status != 206 or found is None or span is None or span[0] != start:
        return False
    if found.num_bytes != known.num_bytes:
        return False
    marks = ((found.etag, known.etag), (found.last_modified, known.last_modified))
    return all(now == then for now, then in marks if now and then)


def known_whole(part: Path, name: str) -> Whole | None:
    """What is known of a part, if it is a part of `name` and can be gone on with."""
    try:
        whole = Whole(**json.loads(part.with_suffix(KNOWN).read_text(encoding="utf-8")))
        fits = whole.name == name and 0 < part.stat().st_size < whole.num_bytes
    except (OSError, ValueError, TypeError):
        return None
    return whole if fits and whole.condition else None


def begin(part: Path, whole: Whole | None) -> None:
    """Note of what a new part will be; an older one goes first."""
    part.unlink(missing_ok=True)
    note = part.with_suffix(KNOWN)
    note.unlink(missing_ok=True)
    if whole is not None:
        note.write_text(json.dumps(dataclasses.asdict(whole)), encoding="utf-8")


def forget(target_stem: Path, *, parts: bool = True) -> None:
    """Delete the files of a stem (its name, a dot, more); not `parts`: but for unfinished ones."""
    for path in target_stem.parent.glob("*"):
        spared = not parts and path.name.endswith((PART, KNOWN))
        if path.name.startswith(target_stem.name + ".") and not spared:
            path.unlink(missing_ok=True)
