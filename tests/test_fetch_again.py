"""A later run keeps what is whole, deletes what nobody needs, asks again for what may change."""

import dataclasses
import errno
import os
import shutil
import subprocess
import sys
import tempfile
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from inline_engine import Inline
from tone_site import CONFIG, OFFSETS, WHOLE, corpus, data, paired, replica, rows, works

import cli
import dataset.tasks
from crawler import commands
from crawler.errors import UserError
from crawler.items import write_works
from crawler.ledger import Ledger, State
from dataset.budget import BudgetConfig
from dataset.clips import CutConfig
from dataset.fetch import fetch, plan
from dataset.leftovers import clean
from dataset.pairing import PairConfig, pair
from dataset.pairs import ErrorClass
from demo.site import Replica, serve

__all__ = ["corpus", "data", "replica"]

asks = partial(dataclasses.replace, CONFIG)


def media(video: str) -> str:
    return f"/media/{video}.ogg"


def clips_of(data: Path, video: str) -> set[Path]:
    found = [row.audio["path"] for row in rows(data) if row.youtube_id == video and row.audio]
    return {data / str(path) for path in found}


@pytest.mark.parametrize(("fault", "error_class"), [("404", "gone"), ("reset", "network")])
def test_a_clip_stays_in_the_index_when_its_source_cannot_be_had_again(
    data: Path, replica: Replica, fault: str, error_class: str
) -> None:
    fetch(data, CONFIG)
    clean(data, CONFIG)
    lost, kept = sorted(clips_of(data, OFFSETS))
    lost.unlink()
    replica.faults[media(OFFSETS)] = fault
    assert fetch(data, CONFIG).counts == {f"failed: {error_class}": 2, "ok": 10}
    assert clips_of(data, OFFSETS) == {kept}
    clean(data, CONFIG, clips=True)
    assert kept.is_file()
    replica.faults.clear()
    assert fetch(data, asks(retry="failed")).counts == {"ok": 12}


def test_an_alternate_takes_the_place_of_texts_without_a_clip_alone(
    tmp_path: Path, replica: Replica
) -> None:
    folder = tmp_path / "chosen"
    write_works(folder / "works.jsonl", works(replica.address))
    pair(folder, PairConfig())
    fetch(folder, CONFIG)
    clean(folder, CONFIG)
    lost, _ = sorted(clips_of(folder, OFFSETS))
    lost.unlink()
    replica.faults[media(OFFSETS)] = "404"
    assert fetch(folder, CONFIG).counts == {"failed: gone": 2, "filtered: alternate": 6, "ok": 4}


def test_a_refused_host_is_not_gone(tmp_path: Path, replica: Replica) -> None:
    folder = tmp_path / "chosen"
    write_works(folder / "works.jsonl", works(replica.address))
    pair(folder, PairConfig())
    assert fetch(folder, asks(allow_loopback=False)).counts == {
        "failed: refused": 4, "filtered: alternate": 8,
    }  # fmt: skip
    assert fetch(folder, CONFIG).counts == {"filtered: alternate": 8, "ok": 4}


def test_a_source_that_is_always_one_too_many_keeps_no_other_from_being_had(
    data: Path, replica: Replica
) -> None:
    replica.faults[media(OFFSETS)] = "429"
    quick = BudgetConfig(per_hour=100_000, breaker_s=0.05, jitter=0.0)
    calm = asks(max_wait_s=2.0, budget=quick)
    summary = fetch(data, calm)
    assert summary.counts == {"failed: rate_limited": 4, "ok": 8}
    assert summary.details["stopped"] == "rate limit: 5 refusals in a row"
    assert summary.incomplete


def test_the_next_run_begins_with_others_than_the_one_that_was_refused(
    data: Path, replica: Replica
) -> None:
    replica.faults[media(OFFSETS)] = "429"
    assert fetch(data, asks(max_wait_s=0.5)).counts == {"failed: rate_limited": 4, "pending": 8}
    assert fetch(data, asks(max_wait_s=0.5)).counts == {"failed: rate_limited": 4, "ok": 8}


def test_a_source_stays_when_its_cut_failed_for_now(
    data: Path, replica: Replica, monkeypatch: pytest.MonkeyPatch
) -> None:
    full = dataset.tasks.Failed(ErrorClass.DISK_FULL, "full")
    with monkeypatch.context() as patch:
        patch.setattr("dataset.jobs.cut_all", lambda _, __, missing, *___: [full] * len(missing))
        brief = fetch(data, asks(keep_sources=False), engine=Inline())
    assert brief.counts == {"failed: disk_full": 12}
    asked = len(replica.requests)
    assert fetch(data, asks(keep_sources=False)).counts == {"ok": 12}
    assert len(replica.requests) == asked
    assert not list((data / "sources").glob("*.ogg"))


def test_a_file_of_two_sources_stays_until_both_are_cut(tmp_path: Path, corpus: Path) -> None:
    site = shutil.copytree(corpus, tmp_path / "site")
    shutil.copy(site / f"{OFFSETS}.ogg", site / f"{WHOLE}.ogg")
    with serve(site) as replica:
        folder = paired(tmp_path / "data", replica)
        brief = asks(keep_sources=False, workers=2)
        assert fetch(folder, brief).counts == {"ok": 12}
        assert replica.served("/media/") == 4


def test_bounds_beyond_a_source_are_looked_for_in_it_anew_if_asked(
    data: Path, replica: Replica
) -> None:
    replica.faults[media(OFFSETS)] = "length-below"
    counts = fetch(data, CONFIG).counts
    assert counts == {"failed: bad_bounds": 2, "ok": 10}
    replica.faults.clear()
    asked = len(replica.requests)
    assert fetch(data, CONFIG).counts == counts
    assert fetch(data, asks(retry="failed:gone")).counts == counts
    assert len(replica.requests) == asked
    assert fetch(data, asks(retry="failed:bad_bounds")).counts == {"ok": 12}
    assert {one.path for one in replica.requests[asked:]} == {
        f"/watch?v={OFFSETS}", media(OFFSETS),
    }  # fmt: skip


def test_a_run_that_leaves_something_undone_says_so(data: Path, replica: Replica) -> None:
    replica.faults |= {media(OFFSETS): "404", media(WHOLE): "404"}
    assert not fetch(data, CONFIG).incomplete
    again = fetch(data, asks(retry="failed:gone", limit=1))
    assert again.details["stopped"] == "fetch.limit 1"
    assert again.incomplete


# --- what a person meets ----------------------------------------------------------------------


def run_cli(*arguments: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", "import cli; cli.app()", *map(str, arguments)]
    env = {**os.environ, "EARSCRIBE_FETCH_MIN_CLIP_S": "0.5"}
    return subprocess.run(command, capture_output=True, text=True, check=False, env=env)


def contents(folder: Path) -> dict[str, bytes]:
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return {str(path.relative_to(folder)): path.read_bytes() for path in files}


def test_a_dry_run_writes_nothing(data: Path, tmp_path: Path, replica: Replica) -> None:
    shutil.rmtree(data / "sources", ignore_errors=True)
    for name in (".lock", "ledger.sqlite"):
        (data / name).unlink(missing_ok=True)
    before = contents(data)
    assert plan(data, CONFIG).details["sources to fetch"] == 4
    assert contents(data) == before
    fetch(data, CONFIG)
    (data / ".lock").unlink()
    before = contents(data)
    plan(data, CONFIG)
    clean(data, CONFIG, dry_run=True)
    assert contents(data) == before
    for run in (plan, fetch):
        with pytest.raises(UserError, match="no index"):
            run(tmp_path / "typo", CONFIG)
    assert not (tmp_path / "typo").exists()


@pytest.mark.parametrize("name", ["sources", "clips", "ledger.sqlite"])
def test_a_thing_in_the_place_of_a_file_or_folder_is_one_line(
    data: Path, replica: Replica, name: str
) -> None:
    if name == "ledger.sqlite":
        (data / name).unlink(missing_ok=True)
        (data / name).mkdir()
    else:
        (data / name).write_text("mine")
    done = run_cli("fetch", "--data", data, "--allow-loopback")
    assert (done.returncode, done.stderr.count("\n")) == (1, 1)
    assert str(data / name) in done.stderr
    assert "move it away" in done.stderr


def test_a_full_disk_is_one_line_that_asks_for_room(
    data: Path,
    replica: Replica,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def no_room(*_: object) -> bool:
        raise OSError(errno.ENOSPC, "No space left on device", "pairs.parquet")

    monkeypatch.setattr("dataset.fetch.write_columns", no_room)
    with pytest.raises(SystemExit) as ended:
        cli.app(["fetch", "--data", str(data), "--allow-loopback"])
    assert ended.value.code == commands.INCOMPLETE
    told = capsys.readouterr().err.splitlines()[-1]
    assert told.endswith("make room and run the same command again")


def test_a_full_ledger_is_a_full_disk(tmp_path: Path) -> None:
    with Ledger(tmp_path) as ledger:
        ledger._db.execute("PRAGMA max_page_count=8")
        with pytest.raises(OSError, match="No space left") as caught:
            for number in range(1_000):
                ledger.record("cut", str(number), State.OK, result={"file": "x" * 100})
    assert caught.value.errno == errno.ENOSPC


def test_a_file_that_came_whole_and_is_broken_is_not_asked_for_again(
    data: Path, replica: Replica
) -> None:
    replica.faults[media(OFFSETS)] = "corrupt"
    assert fetch(data, CONFIG).counts == {"failed: not_media": 4, "ok": 8}
    for row in rows(data):
        assert ".tmp-" not in (row.error_message or "")
        assert str(data) not in (row.error_message or "")
    asked = len(replica.requests)
    fetch(data, CONFIG)
    assert len(replica.requests) == asked


@pytest.mark.parametrize(
    ("signal_name", "error_class"), [("KILL", "extractor"), ("SEGV", "not_media")]
)
def test_a_decoder_that_is_killed_may_do_better_another_time(
    data: Path, replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    signal_name: str, error_class: str,
) -> None:  # fmt: skip
    command = tmp_path / "bin" / "ffmpeg"
    command.parent.mkdir()
    command.write_text(f"#!/bin/sh\ncase $1 in -version) exit 0;; esac\nkill -{signal_name} $$\n")
    command.chmod(0o755)
    monkeypatch.setenv("PATH", f"{command.parent}:{os.environ['PATH']}")
    by_command = asks(cut=CutConfig(backend="ffmpeg"))
    assert fetch(data, by_command, engine=Inline()).counts == {f"failed: {error_class}": 12}


@pytest.mark.parametrize("name", ["sources", "clips"])
def test_a_folder_that_cannot_be_written_is_no_fault_of_the_recordings(
    data: Path, replica: Replica, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    original, asked = tempfile.TemporaryFile, len(replica.requests)

    def refuse(**given: Any) -> Any:
        if Path(given["dir"]).name == name:
            raise PermissionError(errno.EPERM, "Operation not permitted", given["dir"])
        return original(**given)

    monkeypatch.setattr("tempfile.TemporaryFile", refuse)
    with pytest.raises(PermissionError):
        fetch(data, CONFIG)
    assert len(replica.requests) == asked
    monkeypatch.undo()
    assert fetch(data, CONFIG).counts == {"ok": 12}
