"""What could not be had: missing.csv, to be completed and moved into overrides.csv."""

import csv
import io
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from crawler.files import write_atomic
from crawler.ledger import State
from dataset.doubts import SAME_LABEL
from dataset.overrides import HEADER, NONE, PAIR_ID, work_key
from dataset.pairing import TABLE
from dataset.pairs import ErrorClass, Pair
from dataset.recordings import BETWEEN

MISSING_NAME = "missing.csv"
VIDEO, BOUNDS = ("source_url",), ("start_s", "end_s")  # what a person can give
OF_AUDIO = {  # reason of a filtered row whose recording is at fault -> what would mend it
    "too_short": BOUNDS,
    "too_long": BOUNDS,
    BETWEEN: BOUNDS,
    SAME_LABEL: VIDEO,
    "movement_not_recorded": VIDEO,
    "movement_in_several_files": VIDEO,
    "movements_in_two_files": VIDEO,
    "work_in_several_files": VIDEO,
}
PLAIN = re.compile(r"[^\W_][\w.,()&'+-]*")  # a slug that no spreadsheet takes for a formula
MOST_SHOWN = 300  # characters of a reason

Line = tuple[str, str, str, str, str]  # as HEADER


def write_missing(path: Path, rows: Sequence[Pair]) -> int:
    """Write what could not be had as lines of overrides.csv without values, in one atomic step.

    For each movement of a work whose audio failed for good, or was filtered: a line that asks
    for another video, or two for the bounds; `why` says what is wrong. The work's slug stands
    for all its texts where all of them lack the same, else there are lines for each pair. Rows
    of tables are told in remarks, for their tables are where they are corrected. The same rows
    give the same bytes. Returns how many lines there are; 0 leaves the header alone.
    """
    said = {line[:3]: line for line in sorted(missing_lines(rows), reverse=True)}
    lines = sorted(said.values())
    body = io.StringIO()
    writer = csv.writer(body, lineterminator="\n")
    writer.writerow(HEADER)
    writer.writerows(lines)
    write_atomic(path, body.getvalue().encode("utf-8", "replace"))
    return len(lines)


def missing_lines(rows: Iterable[Pair]) -> Iterator[Line]:
    """The lines of missing.csv in no order; some stand twice."""
    groups: dict[tuple[str, tuple[int, ...]], list[Pair]] = defaultdict(list)
    for row in rows:
        if needs(row) or row.status != State.FILTERED:
            groups[row.work_id, row.movements].append(row)
    for group in groups.values():
        shared = is_shared(group)
        for row in filter(needs, group):
            yield from lines_of(row, shared)


def needs(row: Pair) -> Sequence[str]:
    """The columns by which a person can mend a row; () when it is not missing for good."""
    if row.status == State.FILTERED:
        return OF_AUDIO.get(row.filter_reason or "", ())
    if row.status != State.FAILED or ErrorClass(row.error_class or "").transient:
        return ()
    return BOUNDS if row.error_class == ErrorClass.BAD_BOUNDS else VIDEO


def is_shared(group: Sequence[Pair]) -> bool:
    """Whether one line with the work's slug can stand for all rows of a movement.

    It does not when a row has its audio, or may still get it; nor for the bounds in two
    recordings.
    """
    wanted = {tuple(needs(row)) for row in group}
    recordings = {row.source_url for row in group}
    work_id = group[0].work_id
    named = PLAIN.fullmatch(work_id) and not PAIR_ID.fullmatch(work_id)
    return bool(named) and (wanted == {VIDEO} or (wanted == {BOUNDS} and len(recordings) == 1))


def lines_of(row: Pair, shared: bool) -> Iterator[Line]:
    """The lines of one row, to be completed in their fourth cell."""
    numbers = " ".join(map(str, row.movements)) or NONE
    if row.align_method == TABLE:
        place = f"# correct it in {row.page_url}"
        yield told(place), told(row.work_id), "", "", why(row)
        return
    target, movement = (work_key(row.work_id), numbers) if shared else (row.pair_id, "")
    for column in needs(row):
        yield target, movement, column, "", why(row)


def why(row: Pair) -> str:
    """What is wrong with a row's audio: class, recording, bounds, and what the tool said."""
    reason = row.error_class if row.status == State.FAILED else row.filter_reason
    bounds = "" if row.start_s is None else f" from {row.start_s:g} s"
    if row.end_s is not None:
        bounds += f" to {row.end_s:g} s"
    message = f" ({row.error_message})" if row.error_message else ""
    return told(f"{reason}: {row.source_url}{bounds}{message}")


def told(text: str) -> str:
    """A text in one line that no spreadsheet takes for a formula, or parts into two cells."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    line = line.replace(";", ",")[:MOST_SHOWN]
    return f"'{line}" if line.startswith(("=", "+", "-", "@")) else line
