"""The fetch stage: every source once, its bounds, its clips, and the index that tells of them."""

import gc
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from crawler.draining import draining
from crawler.files import TEMPORARY_PREFIX, sweep_temporary
from crawler.ledger import LEDGER_NAME, Ledger, State
from crawler.summary import Progress, Summary, silent
from dataset.duplicates import fill_duplicates
from dataset.engines import Engine, started
from dataset.index import PAIRS_NAME, load_some, read_table, reading, write_columns
from dataset.missing import MISSING_NAME, write_missing
from dataset.pairs import ErrorClass, Pair
from dataset.partial import KNOWN, PART
from dataset.rows import Asked
from dataset.schedule import Schedule
from dataset.tasks import CLIPS, SOURCES
from dataset.tasks import FetchConfig as FetchConfig

STATED = ["status", "error_class", "filter_reason"]  # columns
TYPICAL_BYTES = 25_000_000  # of a source, before any is known


def fetch(
    data: Path, config: FetchConfig, progress: Progress = silent, *, engine: Engine | None = None
) -> Summary:
    """Fetch every source once, cut its clips, and rewrite the index and missing.csv.

    `engine` runs the jobs, when None the one of the settings. Ctrl-C and SIGTERM finish what is
    in hand; the summary then says `incomplete`. Raises UserError when there is no index.
    """
    data = data if config.engine == "local" else data.absolute()  # the same on all hosts
    index = data / PAIRS_NAME
    with reading(index):
        pass  # else no ledger is made
    running = nullcontext(engine) if engine else started(data, config)
    with Ledger(data) as ledger, draining() as stop, running as engine:
        sweep(data)
        refuse_unwritable(data)
        with quick():
            stage = Schedule(data, config, ledger, read_table(index, Asked._fields))
            stage.adopt()
            todo = stage.jobs.sources()
        stage.run(todo, engine, stop, progress)
        with quick():
            found = fill_duplicates(stage.known.rebuilt())
        changed = write_columns(index, found)
        missing = write_missing(data / MISSING_NAME, with_failures(index))
    counts = states_in(found)
    return Summary(
        stage="fetch",
        total=len(found),
        counts=counts,
        artifact=index,
        details={
            **stage.done,
            "sources": len(stage.known.groups),
            "clips": pc.count_distinct(found["clip_id"]).as_py(),
            "missing": missing,
            **({"stopped": stage.closed} if stage.closed else {}),
        },
        work_done=sum(stage.done.values()) + changed,
        incomplete=stage.waits() or any(again(state) for state in counts),
    )


@contextmanager
def quick() -> Iterator[None]:
    """No garbage collection: it walks through the millions of small objects of a large index."""
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


def plan(data: Path, config: FetchConfig, progress: Progress = silent) -> Summary:
    """What `fetch` would do now: requests, hours at the budget's rate, and gigabytes.

    Sizes are guessed from the sources that are known. Fetches nothing and writes nothing.
    """
    table = read_table(data / PAIRS_NAME, {*Asked._fields, *STATED})
    with what_is_known(data) as ledger:
        stage = Schedule(data, config, ledger, table)
        left = [job for key in stage.jobs.sources() if (job := stage.jobs.next_of(key))]
        sizes = [b.num_bytes for b in stage.known.sources.values() if b.num_bytes]
    requests = sum(job.remote for job in left)
    requests = requests if config.limit is None else min(requests, config.limit)
    mean = sum(sizes) / len(sizes) if sizes else TYPICAL_BYTES
    return Summary(
        stage="plan",
        total=len(table),
        counts=states_in(table),
        artifact=data / PAIRS_NAME,
        details={
            "sources to fetch": requests,
            "clips to cut from fetched sources": sum(
                len(job.items) for job in left if job.stage == "cut"
            ),
            "hours": round(requests / config.budget.per_hour, 1),
            "gigabytes": round(requests * mean / 1e9, 2),
        },
    )


@contextmanager
def what_is_known(data: Path) -> Iterator[Ledger]:
    """The ledger of a folder, to be read alone; an empty one elsewhere when there is none."""
    if (data / LEDGER_NAME).is_file():
        with Ledger(data, read_only=True) as ledger:
            yield ledger
    else:
        with tempfile.TemporaryDirectory() as empty, Ledger(Path(empty)) as ledger:
            yield ledger


def refuse_unwritable(data: Path) -> None:
    """OSError when recordings or clips could not be written, which is no fault of theirs."""
    for name in (SOURCES, CLIPS):
        (data / name).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=data / name):
            pass


def sweep(data: Path) -> None:
    """Remove what killed runs left, but for the parts of transfers."""
    for folder in (SOURCES, CLIPS):
        sweep_temporary(data / folder, spared=(PART, KNOWN))
    for orphan in data.glob(f"{TEMPORARY_PREFIX}*"):  # its top is written under its lock alone
        if orphan.is_file():
            orphan.unlink()


def with_failures(index: Path) -> list[Pair]:
    """The rows of the works that have a row without audio."""
    table = read_table(index, ("work_id", "status"))
    lacking = pc.not_equal(table["status"], pa.scalar(State.OK.value))
    works = table.filter(lacking)["work_id"].unique()
    return load_some(index, "work_id", works) if len(works) else []


def states_in(table: pa.Table) -> dict[str, int]:
    """Rows by status with the class or reason: "ok", "failed: gone", "filtered: too_short"."""
    found = table.group_by(STATED, use_threads=False).aggregate([([], "count_all")]).to_pylist()
    counts = {
        ": ".join(filter(None, (row[name] for name in STATED))): row["count_all"] for row in found
    }
    return dict(sorted(counts.items()))


def again(state: str) -> bool:
    """Whether a further run may end otherwise for rows of a state like "failed: network"."""
    status, _, why = state.partition(": ")
    return status == State.PENDING or (status == State.FAILED and ErrorClass(why).transient)
