"""What must hold of a data folder after a kill of fetch, and once the fetch has ended."""

import json
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import soundfile as sf

from crawler.errors import UserError
from crawler.files import TEMPORARY_PREFIX, sha256_file
from crawler.ledger import Entry, Ledger, State
from dataset.fetch import states_in
from dataset.index import PAIRS_NAME, read_table
from dataset.pairs import ErrorClass
from dataset.partial import KNOWN, PART
from dataset.tasks import CLIPS, SOURCES, stem_of, whole
from demo.site import Request

STAGES = ("source", "cut")
READING_S = 0.03  # between two reads of the index
UNMADE = ("nothing has been run", "no such table")  # a ledger of a run that had just begun
Item = tuple[str, str]  # stage and name


@dataclass
class Reads:
    """What a reader of the index saw while the runs were killed."""

    number: int = 0
    problems: list[str] = field(default_factory=list)


@contextmanager
def reading(path: Path) -> Iterator[Reads]:
    """Read an index over and over; each time it must be whole and have as many rows as now."""
    reads, stop, rows = Reads(), threading.Event(), len(read_table(path))

    def read() -> None:
        while not stop.wait(READING_S):
            try:
                found = len(read_table(path))
            except UserError as error:
                reads.problems.append(f"a reader: {error}")
            else:
                if found != rows:
                    reads.problems.append(f"a reader saw {found} of {rows} rows")
            reads.number += 1

    reader = threading.Thread(target=read)
    reader.start()
    try:
        yield reads
    finally:
        stop.set()
        reader.join()


# --- the ledger


@contextmanager
def ledger_of(data: Path) -> Iterator[tuple[Ledger | None, list[Entry]]]:
    """The ledger and its entries; (None, []) before there is one."""
    try:
        ledger = Ledger(data, read_only=True)
        entries = [entry for stage in STAGES for entry in ledger.entries(stage).values()]
    except UserError as error:
        if not any(why in str(error) for why in UNMADE):
            raise
        yield None, []
        return
    with ledger:
        yield ledger, entries


def is_done(data: Path, entry: Entry) -> bool:
    """Whether no work may go into an item again: it is ok, to be adopted, or failed for good."""
    if entry.state is State.FAILED:
        return not ErrorClass(entry.error_class or "").transient
    return entry.state is State.OK or ("file" in entry.result and whole(data, entry.result))


def done_items(data: Path) -> dict[Item, float]:
    """Items that are done -> when they were, seconds since 1970; now for those to be adopted."""
    found = {}
    with ledger_of(data) as (ledger, entries):
        for entry in entries:
            if ledger is None or not is_done(data, entry):
                continue
            ends = [
                one["ended_s"]
                for one in ledger.attempts(entry.stage, entry.item)
                if one["state"] == entry.state
            ]
            found[entry.stage, entry.item] = time.time() if entry.state == "pending" else ends[0]
    return found


def repeated(data: Path, done: dict[Item, float], requests: Sequence[Request]) -> list[str]:
    """Work that went into items after they were done, by the ledger and the server's log."""
    problems = []
    to_wall_s = time.time() - time.monotonic()
    with ledger_of(data) as (ledger, _):
        for (stage, item), done_s in done.items():
            assert ledger, "what is done stands in a ledger"
            later = [one for one in ledger.attempts(stage, item) if one["ended_s"] > done_s]
            adopted = [one["state"] for one in later] == [State.OK]
            if later and not adopted:
                problems.append(f"{stage} {item} was done again: {[one['state'] for one in later]}")
            video = item.rpartition("=")[2]
            asked = [
                request.path
                for request in requests
                if stage == "source"
                and " " not in item  # joined: its parts are sources of their own
                and video in request.path
                and request.time_s + to_wall_s > done_s
            ]
            if asked:
                problems.append(f"source {item} was done and asked for again: {asked}")
    return problems


# --- the files


def broken_files(data: Path) -> list[str]:
    """Files under a final name that are not what the ledger says of them, or unknown to it."""
    problems = []
    with ledger_of(data) as (_, entries):
        told = {entry.result["file"]: entry for entry in entries if "file" in entry.result}
    for name, entry in told.items():
        if entry.state is State.OK and not (data / name).is_file():
            problems.append(f"{entry.stage} {entry.item} is ok, but {name} is not there")
    for name, sha256 in final_files(data).items():
        if name not in told:
            problems.append(f"{name} is unknown to the ledger")
        elif sha256 != told[name].result["sha256"]:
            problems.append(f"{name} has other bytes than the ledger says")
        elif name.startswith(SOURCES) and Path(name).stem != sha256:
            problems.append(f"{name} has another hash than its name says")
        elif name.startswith(CLIPS) and sf.info(data / name).frames == 0:
            problems.append(f"{name} is empty")
    return problems


def final_files(data: Path) -> dict[str, str]:
    """Name within the data folder -> sha256, of every source and clip under a final name."""
    return {
        str(path.relative_to(data)): sha256_file(path)
        for folder in (SOURCES, CLIPS)
        for path in sorted((data / folder).rglob("*"))
        if path.is_file() and not path.name.startswith(TEMPORARY_PREFIX)
    }


def leftovers(data: Path) -> list[str]:
    """Temporary files after a run that was not killed, but for parts of unfinished sources."""
    stems = {stem_of(data, item).name for stage, item in done_items(data) if stage == "source"}
    return [
        f"{path.relative_to(data)} is left"
        for path in data.rglob(TEMPORARY_PREFIX + "*")
        if not path.name.endswith((PART, KNOWN)) or "." + path.name.split(".")[1] in stems
    ]


def met_in(data: Path) -> str:
    """What a kill met, by the temporary files that it left."""
    names = [path.name for path in data.rglob(TEMPORARY_PREFIX + "*")]
    clips = (data / CLIPS).rglob(TEMPORARY_PREFIX + "*")
    if any(clips):
        return "a cut"
    if any(not name.endswith((PART, KNOWN)) for name in names):
        return "a check or commit"
    return "a transfer" if names else "no file in hand"


# --- the end


def compare(calm: Path, data: Path, summary: dict[str, Any]) -> list[str]:
    """How an ended fetch differs from an undisturbed one, and what does not add up in it."""
    table = read_table(data / PAIRS_NAME)
    ids = Counter(table.column("pair_id").to_pylist())
    counts = states_in(table)
    found = {
        "the index has other bytes": (
            (data / PAIRS_NAME).read_bytes() != (calm / PAIRS_NAME).read_bytes()
        ),
        "the sources or clips are others": final_files(data) != final_files(calm),
        "a row stands twice": max(ids.values()) > 1,
        f"counts {summary['counts']} do not add up to {len(table)} rows: {counts}": (
            summary["counts"] != counts
            or sum(counts.values()) != len(table)
            or summary["total"] != len(table)
        ),
        "the summary says incomplete": summary["incomplete"],
    }
    return [problem for problem, met in found.items() if met]


def summary_in(said: str) -> dict[str, Any]:
    """The summary among the lines that a command printed; ValueError without one."""
    for line in reversed(said.splitlines()):
        with suppress(json.JSONDecodeError):
            summary = json.loads(line)
            if isinstance(summary, dict) and "counts" in summary:
                return summary
    raise ValueError(f"no summary in {said!r}")


def ended_badly(process: "subprocess.Popen[bytes]", said: str, codes: Sequence[int]) -> list[str]:
    """What is wrong with the end of a command that was not killed itself."""
    if process.returncode in codes and "Traceback" not in said:
        return []
    return [f"ended with {process.returncode}: {said[-2000:]}"]
