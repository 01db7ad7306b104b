"""Lines of JSONL and CSV, and the values in their records, read strictly."""

import codecs
import csv
import io
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from crawler.errors import UserError
from crawler.grammar import seconds


class RecordError(ValueError):
    """A record that cannot be read; the message says why."""


def json_lines(path: Path) -> Iterator[tuple[int, Mapping[str, Any] | None]]:
    """(line number, object) of every line that is not blank; None for a line that holds none."""
    try:
        body = path.read_bytes().removeprefix(codecs.BOM_UTF8)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error}") from error
    for number, line in enumerate(body.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line.decode("utf-8"))
        except (ValueError, RecursionError):
            row = None
        yield number, row if isinstance(row, dict) else None


def csv_lines(path: Path, body: str, delimiter: str = ",") -> Iterator[list[str]]:
    """The cells of every line that is not blank; UserError for what is no CSV, with the line."""
    return (cells for _, cells in numbered_lines(path, body, delimiter))


def numbered_lines(path: Path, body: str, delimiter: str = ",") -> Iterator[tuple[int, list[str]]]:
    """(number of its first line, cells), as `csv_lines` has them."""
    reader = csv.reader(io.StringIO(body, newline=""), delimiter=delimiter, strict=True)
    line = 1
    try:
        for cells in reader:
            if cells:
                yield line, cells
            line = reader.line_num + 1
    except csv.Error as error:
        raise UserError(f"{path} is not CSV in what begins in line {line}: {error}") from error


def sound(value: object) -> str:
    """A value as text that can be written: JSON may hold halves of characters."""
    return str(value).encode("utf-8", "replace").decode()


def string(row: Mapping[str, Any], name: str) -> str:
    """A value that must be text; null is empty text."""
    value = row[name]
    if not isinstance(value, str | None):
        raise RecordError(f"{name} {value!r} is no text")
    return value or ""


def number(row: Mapping[str, Any], name: str) -> float | None:
    """A value that must be a number or a time; None for null and empty text."""
    value = row[name]
    if value is None or value == "":
        return None
    try:
        return amount(value)
    except ValueError as error:
        raise RecordError(f"{name} {value!r} is no number and no [h:]m:ss") from error


def amount(value: object) -> float:
    """A number, the number that a text says, or the seconds of its [h:]m:ss; else ValueError."""
    if isinstance(value, str) and "_" not in value:
        clock = seconds(value.strip())
        if clock is not None and value.strip()[-2:] > "59":
            raise ValueError(value)  # 1:75
        found = float(value) if clock is None else float(clock)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        found = float(value) if abs(value) < 1e300 else math.inf
    else:
        raise ValueError(value)
    if not math.isfinite(found):
        raise ValueError(value)
    return found
