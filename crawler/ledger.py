"""The ledger: one SQLite file that holds the state of every (stage, item) and every attempt."""

import errno
import fcntl
import json
import os
import shutil
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from enum import StrEnum
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import IO, Any, NamedTuple, Self, TypeVar

from crawler.errors import LockedError, SchemaVersionError, UserError

LEDGER_VERSION = 1
LEDGER_NAME = "ledger.sqlite"
LOCK_NAME = ".lock"

TABLES = """
CREATE TABLE IF NOT EXISTS items (
    stage TEXT NOT NULL,          -- page, source, cut
    item TEXT NOT NULL,           -- the key of the thing within its stage
    state TEXT NOT NULL,          -- pending, ok, failed, filtered
    error_class TEXT,             -- of a failure
    message TEXT,                 -- of a failure, or the reason of a filter
    result TEXT NOT NULL,         -- JSON object: what the stage found out
    attempts INTEGER NOT NULL,
    updated_s REAL NOT NULL,      -- seconds since 1970
    PRIMARY KEY (stage, item)
) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS attempts (
    stage TEXT NOT NULL,
    item TEXT NOT NULL,
    state TEXT NOT NULL,
    error_class TEXT,
    message TEXT,
    started_s REAL NOT NULL,
    ended_s REAL NOT NULL,
    tools TEXT NOT NULL           -- JSON object: versions of what did the work
);
CREATE TABLE IF NOT EXISTS notes (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL           -- JSON object: what a stage remembers from run to run
) WITHOUT ROWID;
"""
LOOKED_UP = 20_000  # items at a time: SQLite takes 32,766 values
CACHE_KIB = 65_536
FULL_BYTES = 65_536  # a disk with less left is full
COLUMNS = "stage, item, state, error_class, message, result, attempts, updated_s"  # of an Entry


class State(StrEnum):
    """The four ends of every item; together they add up to the input."""

    PENDING = "pending"
    OK = "ok"
    FAILED = "failed"
    FILTERED = "filtered"


STATES = {str(state): state for state in State}


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """What the ledger knows of one item in one stage."""

    stage: str
    item: str
    state: State
    error_class: str | None = None
    message: str | None = None
    result: Mapping[str, Any] = field(default_factory=dict)
    attempts: int = 0
    updated_s: float = 0.0  # seconds since 1970


class Brief(NamedTuple):
    """What is needed to tell whether an item is done: a part of its entry."""

    state: State
    error_class: str | None
    updated_s: float  # seconds since 1970
    file: str | None  # of its result, within the data folder
    num_bytes: int | None  # of that file


T = TypeVar("T")


def in_chunks(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Lists of so many items; the last may be shorter."""
    left = iter(items)
    while chunk := list(islice(left, size)):
        yield chunk


def damaged(path: Path, stage: str, item: str, why: str) -> UserError:
    """The error for an entry that this program did not write."""
    return UserError(
        f"{path} is damaged at {stage} {item} ({why}): move the ledger away or give another "
        "folder with --data"
    )


@contextmanager
def folder_lock(data: Path, flag: str = "--data") -> Iterator[None]:
    """Hold the kernel lock of a folder, given by `flag`; it ends with the process, however.

    Raises LockedError when another process holds it, UserError when the folder is not writable.
    """
    lock = open_lock(data, flag)
    try:
        yield
    finally:
        lock.close()


def open_lock(data: Path, flag: str = "--data") -> IO[str]:
    """Take the lock of `folder_lock` and return the open file that carries it."""
    try:
        data.mkdir(parents=True, exist_ok=True)
        lock = (data / LOCK_NAME).open("a+")
    except OSError as error:
        raise UserError(
            f"cannot write to the data folder {data} ({error.strerror}): "
            f"give a writable one with {flag}"
        ) from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as error:
        lock.seek(0)
        holder = lock.read().strip() or "unknown"
        lock.close()
        raise LockedError(
            f"another run (process {holder}) is working on {data}: wait for it or give another "
            f"folder with {flag}"
        ) from error
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


class Ledger:
    """The writer's view of a data folder's ledger; holds the folder's lock while open.

    Safe to share between threads of one process. `read_only=True` neither locks nor writes.
    """

    def __init__(self, data: Path, *, read_only: bool = False) -> None:
        self.path = data / LEDGER_NAME
        self._guard = threading.RLock()
        self._lock = None if read_only else open_lock(data)
        try:
            self._db = self._connect(read_only)
        except BaseException:
            if self._lock:
                self._lock.close()
            raise

    def _connect(self, read_only: bool) -> sqlite3.Connection:
        if read_only and not (self.path.is_file() and self.path.stat().st_size):
            raise UserError(f"no ledger at {self.path}: nothing has been run on this folder yet")
        address = self._reading_address() if read_only else f"{self._uri}?mode=rwc"
        try:
            db = sqlite3.connect(address, uri=True, check_same_thread=False, isolation_level=None)
        except sqlite3.DatabaseError as error:
            raise self._unusable(error) from error
        try:
            db.execute(f"PRAGMA query_only={int(read_only)}")
            db.execute("PRAGMA busy_timeout=10000")
            db.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            version = db.execute("PRAGMA user_version").fetchone()[0]
            if version not in (0, LEDGER_VERSION):
                raise SchemaVersionError(
                    f"{self.path} has ledger version {version}, this program reads "
                    f"{LEDGER_VERSION}: give another folder with --data"
                )
            if not read_only:
                db.execute("PRAGMA journal_mode=WAL")
                # A killed process loses no commit; a power cut may take the last ones back, and
                # they are done again.
                db.execute("PRAGMA synchronous=NORMAL")
                db.executescript(TABLES)
                db.execute(f"PRAGMA user_version={LEDGER_VERSION}")
        except sqlite3.DatabaseError as error:
            db.close()
            raise self._unusable(error) from error
        except BaseException:
            db.close()
            raise
        return db

    @property
    def _uri(self) -> str:
        return self.path.absolute().as_uri()

    def _reading_address(self) -> str:
        """Where a reader finds the ledger so that no file of its own stays behind."""
        if os.access(self.path.parent, os.W_OK) and os.access(self.path, os.W_OK):
            return f"{self._uri}?mode=rw"  # else nobody would take away its -wal and -shm files
        beside = self.path.with_name(f"{LEDGER_NAME}-wal")  # of a run, or left by a killed one
        return f"{self._uri}?mode=ro{'' if beside.exists() else '&immutable=1'}"

    def _unusable(self, error: sqlite3.DatabaseError) -> Exception:
        code = getattr(error, "sqlite_errorcode", None)
        free = shutil.disk_usage(self.path.parent).free if self.path.parent.is_dir() else 0
        if code == sqlite3.SQLITE_FULL or (code is not None and free < FULL_BYTES):
            return OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
        return UserError(
            f"{self.path} is not a ledger, or cannot be read and written ({error}): mend that, "
            "move it away or give another folder with --data"
        )

    @contextmanager
    def _access(self) -> Iterator[sqlite3.Connection]:
        """The database for one thread at a time; UserError when it is not as it was made."""
        with self._guard:
            try:
                yield self._db
            except sqlite3.DatabaseError as error:
                raise self._unusable(error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the file and release the lock."""
        self._db.close()
        if self._lock:
            self._lock.close()

    @contextmanager
    def together(self) -> Iterator[None]:
        """Commit all that is written inside at once, or none of it; other threads wait."""
        with self._access() as db:
            if db.in_transaction:
                yield
                return
            with db:
                db.execute("BEGIN IMMEDIATE")
                yield

    def record(
        self,
        stage: str,
        item: str,
        state: State,
        *,
        error_class: str | None = None,
        message: str | None = None,
        result: Mapping[str, Any] | None = None,
        started_s: float | None = None,
        tools: Mapping[str, str] | None = None,
    ) -> None:
        """Commit the end of one attempt: the item's state now, and a line in its history."""
        now = time.time()
        with self.together(), self._access() as db:
            db.execute(
                "INSERT INTO items VALUES (?, ?, ?, ?, ?, ?, 1, ?) "
                "ON CONFLICT (stage, item) DO UPDATE SET state=excluded.state, "
                "error_class=excluded.error_class, message=excluded.message, "
                "result=excluded.result, attempts=attempts+1, updated_s=excluded.updated_s",
                (stage, item, state, error_class, message, json.dumps(dict(result or {})), now),
            )
            db.execute(
                "INSERT INTO attempts VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
                (
                    stage,
                    item,
                    state,
                    error_class,
                    message,
                    now if started_s is None else started_s,
                    now,
                    json.dumps(dict(tools or {})),
                ),
            )

    def entry(self, stage: str, item: str) -> Entry | None:
        """What is known of one item, or None."""
        return self.entries(stage, item).get(item)

    def entries(self, stage: str, item: str | None = None) -> dict[str, Entry]:
        """Every item of a stage (or the one named) by its key."""
        query = f"SELECT {COLUMNS} FROM items WHERE stage = ?" + (
            "" if item is None else " AND item = ?"
        )
        with self._access() as db:
            rows = db.execute(query, (stage,) if item is None else (stage, item)).fetchall()
        return {row[1]: self._entry(row) for row in rows}

    def some(self, stage: str, items: Iterable[str]) -> Iterator[Entry]:
        """The entries of some items of a stage, in no order; unknown ones are left out."""
        with self._telling(stage):
            yield from map(self._entry, self._columns(COLUMNS, stage, items))

    def results(self, stage: str, items: Iterable[str]) -> dict[str, tuple[State, str]]:
        """The state of some items of a stage, and their result as JSON; errors as of `briefs`."""
        with self._telling(stage):
            rows = self._columns("item, state, result", stage, items)
            return {item: (STATES[state], result) for item, state, result in rows}

    def briefs(self, stage: str, items: Iterable[str] | None = None) -> dict[str, Brief]:
        """Every item of a stage (or those named) by its key; UserError for a damaged one."""
        columns = (
            "item, state, error_class, updated_s, json_extract(result, '$.file'), "
            "json_extract(result, '$.num_bytes')"
        )
        with self._telling(stage):
            rows = self._columns(columns, stage, items)
            return {item: Brief(STATES[state], *told) for item, state, *told in rows}

    @contextmanager
    def _telling(self, stage: str) -> Iterator[None]:
        """Say which item of a stage is damaged when one is."""
        try:
            yield
        except (sqlite3.DatabaseError, KeyError):
            list(self.walk(stage))
            raise

    def _columns(
        self, columns: str, stage: str, items: Iterable[str] | None
    ) -> Iterator[tuple[Any, ...]]:
        """Some columns of every item of a stage, or of those named."""
        query = f"SELECT {columns} FROM items WHERE stage = ?"
        if items is None:
            with self._guard:
                rows = self._db.execute(query, (stage,)).fetchall()
            yield from rows
            return
        for chunk in in_chunks(sorted(items), LOOKED_UP):
            marks = ", ".join("?" * len(chunk))
            with self._guard:
                rows = self._db.execute(
                    f"{query} AND item IN ({marks})", (stage, *chunk)
                ).fetchall()
            yield from rows

    def pending(self, stage: str) -> list[str]:
        """The items of a stage that wait."""
        query = "SELECT item FROM items WHERE stage = ? AND state = ?"
        with self._access() as db:
            return [item for (item,) in db.execute(query, (stage, State.PENDING))]

    def walk(self, stage: str) -> Iterator[Entry]:
        """Every item of a stage in the order of its keys, a few at a time in memory."""
        last = ""
        while True:
            with self._access() as db:
                rows = db.execute(
                    f"SELECT {COLUMNS} FROM items WHERE stage = ? AND item > ? "
                    "ORDER BY item LIMIT 100",
                    (stage, last),
                ).fetchall()
            if not rows:
                return
            last = rows[-1][1]
            yield from map(self._entry, rows)

    def _entry(self, row: tuple[Any, ...]) -> Entry:
        stage, item, state, error_class, message, result, attempts, updated_s = row
        try:
            found = json.loads(result)
            if not isinstance(found, dict):
                raise ValueError("its result is no JSON object")
            return Entry(
                stage=stage,
                item=item,
                state=STATES[state] if state in STATES else State(state),
                error_class=error_class,
                message=message,
                result=found,
                attempts=attempts,
                updated_s=updated_s,
            )
        except (TypeError, ValueError) as error:
            raise damaged(self.path, stage, item, str(error)) from error

    def remember(self, key: str, value: Mapping[str, Any]) -> None:
        """Commit what is to be known under a key in later runs, in place of what was."""
        with self.together(), self._access() as db:
            db.execute("INSERT OR REPLACE INTO notes VALUES (?, ?)", (key, json.dumps(dict(value))))

    def recall(self, key: str) -> dict[str, Any]:
        """What is remembered under a key, {} when nothing is."""
        with self._access() as db:
            # A ledger that is only read may be older than the table.
            there = db.execute("SELECT 1 FROM sqlite_master WHERE name = 'notes'").fetchone()
            row = there and db.execute("SELECT value FROM notes WHERE key = ?", (key,)).fetchone()
        try:
            value = json.loads(row[0]) if row else {}
            if not isinstance(value, dict):
                raise ValueError("it is no JSON object")
        except (TypeError, ValueError) as error:
            raise damaged(self.path, "note", key, str(error)) from error
        return value

    def counts(self) -> list[tuple[str, str, str | None, int]]:
        """(stage, state, error class, number of items), sorted."""
        with self._access() as db:
            return db.execute(
                "SELECT stage, state, error_class, COUNT(*) FROM items "
                "GROUP BY stage, state, error_class ORDER BY stage, state, error_class"
            ).fetchall()

    def attempts(self, stage: str, item: str) -> list[dict[str, Any]]:
        """The history of one item, oldest first."""
        with self._access() as db:
            rows = db.execute(
                "SELECT state, error_class, message, started_s, ended_s, tools FROM attempts "
                "WHERE stage = ? AND item = ? ORDER BY rowid",
                (stage, item),
            ).fetchall()
        names = ("state", "error_class", "message", "started_s", "ended_s", "tools")
        return [dict(zip(names, row, strict=True)) for row in rows]

    # ------------------------------------------------------------ how far the stages have come

    def ages(self, hour_ago_s: float, day_ago_s: float) -> list[dict[str, Any]]:
        """A row for each stage, state and class: its number, and of these the new ones.

        Keys: stage, state, class, number, `hour` and `day` (of these, changed since then).
        """
        with self._access() as db:
            rows = db.execute(
                "SELECT stage, state, error_class, COUNT(*), SUM(updated_s > ?), "
                "SUM(updated_s > ?) FROM items "
                "GROUP BY stage, state, error_class ORDER BY stage, state, error_class",
                (hour_ago_s, day_ago_s),
            ).fetchall()
        names = ("stage", "state", "class", "number", "hour", "day")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def finished_since(self, since_s: float) -> dict[str, tuple[int, float]]:
        """Stage -> (items that an attempt has ended since then, when the first was begun)."""
        with self._access() as db:
            rows = db.execute(
                "SELECT stage, COUNT(DISTINCT item), MIN(started_s) FROM attempts "
                "WHERE ended_s > ? AND state <> ? GROUP BY stage",
                (since_s, State.PENDING),
            ).fetchall()
        return {stage: (number, first_s) for stage, number, first_s in rows}

    def slowest(self, number: int) -> list[dict[str, Any]]:
        """The longest attempts, `number` items a stage: stage, item, state, class, took_s."""
        with self._access() as db:
            rows = db.execute(
                "SELECT stage, item, state, error_class, took_s FROM (SELECT *, ROW_NUMBER() "
                "OVER (PARTITION BY stage ORDER BY took_s DESC, item) AS place FROM ("
                "SELECT stage, item, state, error_class, MAX(ended_s - started_s) AS took_s "
                "FROM attempts WHERE state <> ? GROUP BY stage, item)) "
                "WHERE place <= ? AND took_s > 0 ORDER BY stage, place",
                (State.PENDING, number),
            ).fetchall()
        names = ("stage", "item", "state", "class", "took_s")
        return [dict(zip(names, row, strict=True)) for row in rows]

    def states(self, stage: str) -> dict[str, tuple[str, str | None]]:
        """Every item of a stage -> (state, error class), without what was found out of it."""
        with self._access() as db:
            rows = db.execute(
                "SELECT item, state, error_class FROM items WHERE stage = ?", (stage,)
            ).fetchall()
        return {item: (state, error_class) for item, state, error_class in rows}
