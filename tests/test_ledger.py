"""The ledger: states, history, lock, versions and kills."""

import signal
import sqlite3
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from crawler.errors import LockedError, SchemaVersionError, UserError
from crawler.ledger import LEDGER_NAME, Ledger, State


def test_an_item_has_one_state_and_a_whole_history(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.record("source", "a", State.FAILED, error_class="network", message="reset")
        ledger.record("source", "a", State.OK, result={"sha256": "00"}, tools={"yt_dlp": "1"})
        ledger.record("source", "b", State.FILTERED, message="too_short")
        entry = ledger.entry("source", "a")
        assert entry is not None
        assert (entry.state, entry.error_class, entry.attempts) == (State.OK, None, 2)
        assert entry.result == {"sha256": "00"}
        history = ledger.attempts("source", "a")
        assert [row["state"] for row in history] == ["failed", "ok"]
        assert history[0]["error_class"] == "network"
        assert ledger.counts() == [("source", "filtered", None, 1), ("source", "ok", None, 1)]
        assert ledger.entry("source", "never") is None
        assert ledger.entries("cut") == {}


def test_a_second_writer_is_refused_by_name_and_a_reader_is_not(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.record("page", "a", State.OK)
        with pytest.raises(LockedError, match=r"process \d+.*--data"):
            Ledger(tmp_path)
        with Ledger(tmp_path, read_only=True) as reader:
            assert set(reader.entries("page")) == {"a"}
    Ledger(tmp_path).close()


def test_the_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    program = (
        "import os, signal, sys; from pathlib import Path\n"
        "from crawler.ledger import Ledger, State\n"
        "ledger = Ledger(Path(sys.argv[1]))\n"
        "ledger.record('page', 'committed', State.OK, result={'n': 1})\n"
        "ledger._db.execute('BEGIN'); "
        "ledger._db.execute(\"UPDATE items SET state = 'failed'\")\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    killed = subprocess.run([sys.executable, "-c", program, str(tmp_path)], check=False)
    assert killed.returncode == -signal.SIGKILL
    with Ledger(tmp_path) as ledger:
        entry = ledger.entry("page", "committed")
        assert entry is not None
        assert entry.state is State.OK


def test_threads_share_one_writer(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:

        def work(name: str) -> None:
            for number in range(20):
                ledger.record("cut", f"{name}{number}", State.OK)

        threads = [threading.Thread(target=work, args=(name,)) for name in "abcd"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(ledger.entries("cut")) == 80


def test_what_is_remembered_is_known_in_the_next_run(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        assert ledger.recall("budget") == {}
        ledger.remember("budget", {"tokens": 1.5})
        ledger.remember("budget", {"tokens": 0.5, "trips": 2})
        ledger.remember("another", {})
    with Ledger(tmp_path, read_only=True) as ledger:
        assert ledger.recall("budget") == {"tokens": 0.5, "trips": 2}
        assert ledger.recall("another") == ledger.recall("never") == {}


def test_a_ledger_from_before_there_were_notes_is_read_and_written(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger._db.execute("DROP TABLE notes")
    with Ledger(tmp_path, read_only=True) as ledger:
        assert ledger.recall("budget") == {}
    with Ledger(tmp_path) as ledger:
        ledger.remember("budget", {"trips": 1})
        assert ledger.recall("budget") == {"trips": 1}


def test_what_is_written_together_is_committed_at_once_or_not_at_all(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger, Ledger(tmp_path, read_only=True) as reader:
        with ledger.together():
            for item in "abc":
                ledger.record("cut", item, State.OK)
            ledger.remember("budget", {"trips": 1})
            assert (reader.entries("cut"), reader.recall("budget")) == ({}, {})
        assert set(reader.entries("cut")) == set("abc")
        with pytest.raises(ZeroDivisionError), ledger.together():
            ledger.record("cut", "d", State.OK)
            1 / 0  # noqa: B018
        assert set(ledger.entries("cut")) == set("abc")
        assert len(ledger.attempts("cut", "d")) == 0
        ledger.record("cut", "e", State.OK)
        assert set(reader.entries("cut")) == set("abce")
        assert reader.recall("budget") == {"trips": 1}


@pytest.mark.parametrize("value", ["{", "[1]", "3", "", b"\xff"])
def test_a_tampered_note_is_told_in_one_line(tmp_path: Path, value: object) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.remember("budget", {"trips": 1})
        ledger._db.execute("UPDATE notes SET value = ?", (value,))
        with pytest.raises(UserError, match="damaged at note budget .*--data") as told:
            ledger.recall("budget")
        assert "\n" not in str(told.value)


def test_another_version_is_refused_in_one_line(tmp_path: Path) -> None:
    Ledger(tmp_path).close()
    db = sqlite3.connect(tmp_path / LEDGER_NAME)
    db.execute("PRAGMA user_version=99")
    db.commit()
    db.close()
    with pytest.raises(SchemaVersionError, match=r"ledger version 99.*reads 1.*--data") as caught:
        Ledger(tmp_path)
    assert "\n" not in str(caught.value)
    with pytest.raises(SchemaVersionError):  # the refused attempt released the lock
        Ledger(tmp_path)


def test_a_folder_that_cannot_be_written_and_one_without_a_ledger(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    with pytest.raises(UserError, match="cannot write to the data folder"):
        Ledger(tmp_path / "file" / "data")
    with pytest.raises(UserError, match="nothing has been run"):
        Ledger(tmp_path, read_only=True)


def test_an_empty_file_is_no_ledger_to_read_and_one_to_write(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).touch()
    with pytest.raises(UserError, match="nothing has been run"):
        Ledger(tmp_path, read_only=True)
    with Ledger(tmp_path) as ledger:
        assert ledger.counts() == []


@pytest.mark.parametrize(
    ("change", "line"),
    [
        ("UPDATE items SET result = '{'", "damaged at page a .*--data"),
        ("UPDATE items SET result = '3'", "damaged at page a .*--data"),
        ("UPDATE items SET state = 'done'", "damaged at page a .*'done'"),
        ("ALTER TABLE items RENAME COLUMN result TO found", "no such column: result"),
        ("DROP TABLE items", "no such table: items"),
    ],
)
def test_a_tampered_ledger_is_told_in_one_line(tmp_path: Path, change: str, line: str) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.record("page", "a", State.OK)
    db = sqlite3.connect(tmp_path / LEDGER_NAME)
    db.execute(change)
    db.commit()
    db.close()
    with (
        Ledger(tmp_path, read_only=True) as ledger,
        pytest.raises(UserError, match=line) as told,
    ):
        ledger.entries("page")
    assert "\n" not in str(told.value)


def test_a_damaged_file_is_told_in_one_line(tmp_path: Path) -> None:
    (tmp_path / LEDGER_NAME).write_bytes(b"this is no database" * 100)
    with pytest.raises(UserError, match="not a ledger"):
        Ledger(tmp_path)


def test_a_reader_leaves_no_file_behind_and_writes_nothing(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.record("page", "a", State.OK)
        with Ledger(tmp_path, read_only=True) as reader:  # beside a running writer
            assert reader.counts() == [("page", "ok", None, 1)]
        ledger.record("page", "b", State.OK)
    before = sorted(path.name for path in tmp_path.iterdir())
    with Ledger(tmp_path, read_only=True) as reader:
        assert len(reader.states("page")) == 2
        with pytest.raises(UserError, match="readonly"):
            reader.record("page", "c", State.OK)
    assert sorted(path.name for path in tmp_path.iterdir()) == before
    assert before == [".lock", LEDGER_NAME]


def test_a_ledger_in_a_folder_that_cannot_be_written_is_read(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.record("page", "a", State.OK)
    program = (
        "import os, sys; from pathlib import Path\n"
        "from crawler.ledger import Ledger\n"
        "os.access = lambda *given: False  # root may write anywhere\n"
        "with Ledger(Path(sys.argv[1]), read_only=True) as ledger: print(ledger.counts())"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[('page', 'ok', None, 1)]\n"
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", LEDGER_NAME]


def test_what_became_of_the_items_since_when_and_which_took_long(tmp_path: Path) -> None:
    now_s = time.time()
    with Ledger(tmp_path) as ledger:
        for item, took_s in (("a", 5.0), ("b", 50.0), ("c", 0.5)):
            ledger.record("source", item, State.PENDING, started_s=now_s - took_s)
            ledger.record("source", item, State.OK, started_s=now_s - took_s)
        ledger.record("source", "a", State.FAILED, error_class="gone", started_s=now_s - 7)
        (failed, ok) = ledger.ages(now_s - 3600, now_s + 3600)
        assert failed == {
            **{"stage": "source", "state": "failed", "class": "gone"},
            **{"number": 1, "hour": 1, "day": 0},
        }
        assert (ok["number"], ok["hour"], ok["day"]) == (2, 2, 0)
        number, first_s = ledger.finished_since(now_s - 3600)["source"]
        assert (number, first_s) == (3, now_s - 50)
        assert ledger.finished_since(now_s + 3600) == {}
        assert [(one["item"], one["class"]) for one in ledger.slowest(2)] == [
            ("b", None),
            ("a", "gone"),
        ]
        assert ledger.states("source")["a"] == ("failed", "gone")
