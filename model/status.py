"""How far every stage of a data folder has come, how fast, and what took long there."""

import time
from collections import Counter
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from crawler.ledger import Ledger, State
from dataset.index import PAIRS_NAME, read_table
from dataset.pairs import TRANSIENT
from dataset.parts import read_split
from model.runs import list_checkpoints, read_config

HOUR_S, DAY_S = 3_600.0, 86_400.0
SLOWEST = 5  # items of a stage that are named
COLUMNS = (  # of the index: what is read of it here
    *("work_id", "movements", "clip_id", "source_url", "youtube_id"),
    *("status", "stage", "error_class", "filter_reason"),
)
Row = dict[str, Any]


def status(data: Path, now_s: float | None = None) -> dict[str, list[Row]]:
    """What a data folder holds, as tables; nothing is written. UserError without a ledger.

    items: stage, state, class, number, and how many of these changed within the last `hour`,
    between that and a `day` ago, and before (`older`).
    rates: stage, items that ended within the last `hour`, `per_hour` while it was at work in it,
    `left` (what a further run begins with, as far as the folder tells), `left_s` seconds at that
    rate (None = no rate).
    slowest: the attempts that took longest: stage, item, took_s, state, class, source.
    made: stage, state, class or reason, number of what was made of the items.
    """
    now_s = time.time() if now_s is None else now_s
    path = data / PAIRS_NAME
    rows: list[Row] = []
    with Ledger(data, read_only=True) as ledger:
        if path.is_file():
            rows = read_table(path, COLUMNS).to_pylist()
        return {
            "items": [aged(row) for row in ledger.ages(now_s - HOUR_S, now_s - DAY_S)],
            "rates": rates(ledger, rows, now_s),
            "slowest": slowest(ledger, rows),
            "made": [*indexed(rows), *made(data)],
        }


def aged(row: Row) -> Row:
    """The counts of a row within one age each."""
    hour, day, number = row["hour"], row["day"], row["number"]
    return {**row, "day": day - hour, "older": number - day}


def rates(ledger: Ledger, rows: Sequence[Row], now_s: float) -> list[Row]:
    """A row for each stage that ended an item within the last hour or has something left."""
    ended, left = ledger.finished_since(now_s - HOUR_S), what_is_left(ledger, rows)
    found = []
    for stage in sorted({*ended, *(stage for stage, number in left.items() if number)}):
        number, first_s = ended.get(stage, (0, now_s))
        at_work_s = min(max(now_s - first_s, 1.0), HOUR_S)
        per_hour = number / at_work_s * HOUR_S
        left_s = left[stage] / per_hour * HOUR_S if number else None
        found.append(
            {
                "stage": stage,
                "hour": number,
                "per_hour": round(per_hour, 1),
                "left": left[stage],
                "left_s": None if left_s is None else round(left_s),
            }
        )
    return found


def what_is_left(ledger: Ledger, rows: Sequence[Row]) -> Counter[str]:
    """Stage -> items that are pending, failed for a passing reason, or not begun.

    The index is written at a stage's end; the ledger tells what has ended since.
    """
    states = {stage: ledger.states(stage) for stage in ("page", "source", "cut")}
    left = Counter({stage: sum(map(is_left, known.values())) for stage, known in states.items()})
    done = {source for source, known in states["source"].items() if not is_left(known)}
    clips = {
        (source_of(row), *row["movements"])
        for row in rows
        if row["status"] in (State.PENDING, State.FAILED) and source_of(row) not in done
    }
    left["source"] = len({source for source, *_ in clips})
    left["cut"] += len(clips)
    return left


def is_left(known: tuple[str, str | None]) -> bool:
    """Whether a further run works on an item of this state and error class."""
    state, error_class = known
    return state == State.PENDING or (state == State.FAILED and error_class in TRANSIENT)


def source_of(row: Row) -> str:
    """The name of a row's source in the ledger."""
    return row["youtube_id"] or row["source_url"]


def slowest(ledger: Ledger, rows: Sequence[Row]) -> list[Row]:
    """The longest attempts of each stage, with the address or the pair that an item is of."""
    named = {row["clip_id"]: row for row in rows if row["clip_id"]}
    found = []
    for one in ledger.slowest(SLOWEST):
        known = ledger.entry(one["stage"], one["item"])
        result = known.result if known else {}
        row = named.get(result.get("clip_id"))
        source = f"{row['work_id']} {row['source_url']}" if row else result.get("url")
        found.append({**one, "took_s": round(one["took_s"], 1), "source": source})
    return found


def indexed(rows: Sequence[Row]) -> Iterator[Row]:
    """The rows of the index by status and reason."""
    why = {State.FAILED: "error_class", State.FILTERED: "filter_reason"}
    counts = Counter((row["status"], row.get(why.get(row["status"], ""))) for row in rows)
    for state, reason in sorted(counts, key=lambda one: (one[0], one[1] or "")):
        yield made_row("index", state, reason, counts[state, reason])


def made(data: Path) -> Iterator[Row]:
    """What the stages after the index have left in the folder."""
    for record in sorted(data.glob("splits/*/split.json")):
        name = record.parent.name
        for part, described in read_split(data, name)["parts"].items():
            yield made_row("split", State.OK, f"{name}/{part}", described["rows"])
    for stage, pattern in (("report", "report.html"), ("export", "*/README.md")):
        for path in sorted(data.glob(pattern)):
            yield made_row(stage, State.OK, str(path.relative_to(data)), 1)
    for settings in sorted(data.glob("runs/*/config.json")):
        run, steps = settings.parent, read_config(settings).steps
        done = max((one.step for one in list_checkpoints(run / "checkpoints")), default=0)
        state = State.OK if done >= steps else State.PENDING
        yield made_row("train", state, f"{run.name}, of {steps} steps", done)
    for scores in sorted(data.glob("runs/*/scores.json")):
        yield made_row("evaluate", State.OK, scores.parent.name, 1)


def made_row(stage: str, state: str, why: str | None, number: int) -> Row:
    """One line of the table."""
    return {"stage": stage, "state": str(state), "class": why, "number": number}
