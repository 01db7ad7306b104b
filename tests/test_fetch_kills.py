"""SIGKILL at random moments and steps against the real command: nothing lost, nothing twice."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
from tone_site import (  # noqa: F401 - fixtures
    CONFIG,
    corpus,
    data,
    replica,
)

from bench.failpoints import STEPS
from bench.kill import KINDS, LEAST_MET, Tally, kill_fetches, told, too_few
from bench.kills import left_over
from bench.lossless import (
    broken_files,
    compare,
    done_items,
    leftovers,
    reading,
    repeated,
)
from crawler.ledger import Ledger, State
from dataset.fetch import fetch
from dataset.index import PAIRS_NAME
from dataset.tasks import stem_of
from demo.site import Replica, Request


@pytest.mark.slow
def test_ten_kills_lose_nothing_and_repeat_nothing_that_was_done(tmp_path: Path) -> None:
    tally = kill_fetches(tmp_path, runs=10, seed=11, works=2, disks=0, hurry=5)
    assert tally.problems == []
    assert sum(tally.met.values()) >= 8
    assert {*tally.kills} == {*KINDS, *STEPS[:5]}
    assert tally.reads > 100
    assert tally.media_requests >= tally.sources == 12


def ended(data: Path) -> dict[str, object]:
    summary = fetch(data, CONFIG)
    return {"counts": summary.counts, "total": summary.total, "incomplete": summary.incomplete}


def test_a_file_that_is_not_what_the_ledger_says_is_found(data: Path) -> None:
    ended(data)
    assert broken_files(data) == leftovers(data) == []
    clip = next((data / "clips").rglob("*.flac"))
    body = clip.read_bytes()
    clip.write_bytes(body[:-10])
    assert "other bytes" in broken_files(data)[0]
    clip.unlink()
    assert "is ok, but" in broken_files(data)[0]
    clip.with_name("unknown.flac").write_bytes(body)
    assert any("unknown to the ledger" in problem for problem in broken_files(data))


def test_temporary_files_but_for_parts_of_unfinished_sources_are_found(data: Path) -> None:
    ended(data)
    (done, *_) = [item for stage, item in done_items(data) if stage == "source"]
    for key, found in (("unfinished", 0), (done, 1)):
        part = stem_of(data, key).with_suffix(".ogg.part")
        part.write_bytes(b"part")
        assert len(leftovers(data)) == found
        part.unlink()
    (data / "clips" / ".tmp-1.flac").touch()
    assert leftovers(data) == ["clips/.tmp-1.flac is left"]


def test_what_is_done_or_asked_for_again_is_found(data: Path, replica: Replica) -> None:
    ended(data)
    done = done_items(data)
    assert repeated(data, done, replica.requests) == []
    item = next(item for stage, item in done if stage == "source")
    late = Request("GET", f"/media/{item}.ogg", 200, None, time.monotonic())
    assert "asked for again" in repeated(data, done, [late])[0]
    with Ledger(data) as ledger:
        (entry,) = ledger.some("source", [item])
        for state in (State.PENDING, State.OK):
            ledger.record("source", item, state, result=entry.result)
    assert "was done again" in repeated(data, done, [])[0]


def test_what_waits_to_be_adopted_is_done(data: Path, replica: Replica) -> None:
    ended(data)
    item = next(item for stage, item in done_items(data) if stage == "cut")
    with Ledger(data) as ledger:
        (entry,) = ledger.some("cut", [item])
        ledger.record("cut", item, State.PENDING, result=entry.result)
    done = done_items(data)
    assert done["cut", item] > entry.updated_s
    assert fetch(data, CONFIG).details["adopted"] == 1
    assert repeated(data, done, replica.requests) == []


def test_another_end_than_the_undisturbed_one_is_found(data: Path, tmp_path: Path) -> None:
    summary = ended(data)
    assert compare(data, data, summary) == []
    assert len(compare(data, data, summary | {"total": 13})) == 1
    assert len(compare(data, data, summary | {"incomplete": True})) == 1
    empty = tmp_path / "empty"
    empty.mkdir()
    (empty / PAIRS_NAME).write_bytes(b"other")
    assert len(compare(empty, data, summary)) == 2


def test_an_index_that_cannot_be_read_for_a_moment_is_found(data: Path) -> None:
    index = data / PAIRS_NAME
    body = index.read_bytes()
    with reading(index) as reads:
        index.write_bytes(body[:100])
        until = time.monotonic() + 10
        while not reads.problems and time.monotonic() < until:
            time.sleep(0.01)
        index.write_bytes(body)
    assert "damaged" in reads.problems[0]


def test_a_process_is_known_by_the_mark_in_its_environment(tmp_path: Path) -> None:
    mark = f"KILL_BENCH={tmp_path}"
    name, value = mark.split("=")
    process = subprocess.Popen(
        [sys.executable, "-c", "input()"], stdin=subprocess.PIPE, env=os.environ | {name: value}
    )
    assert left_over(mark) == [process.pid]
    process.communicate()
    assert left_over(mark) == []


def test_kinds_and_problems_are_told_in_a_table() -> None:
    tally = Tally()
    tally.kills["a worker"], tally.met["a worker"] = 10, round(10 * LEAST_MET)
    assert not too_few(tally)
    tally.met["a worker"] -= 1
    assert too_few(tally)
    tally.note("the end", ["a row stands twice"])
    lines = told(tally).splitlines()
    assert lines[1].split() == ["a", "worker", "10", "7", "0"]
    assert lines[2].split() == ["the", "end", "0", "0", "1"]
    assert json.dumps(vars(tally))
