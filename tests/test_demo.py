"""The whole journey as a process: run, second run, kills, and what goes wrong."""

import json
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from crawler.ledger import LEDGER_NAME
from dataset.index import PAIRS_NAME

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("demo")]

ROOT = Path(__file__).parent.parent
STAGES = "crawl pair fetch validate split report export train evaluate replica".split()
SHORT = {  # a training that is real but short
    "EARSCRIBE_TRAIN_CHECKPOINT_EVERY": "2",
    "EARSCRIBE_TRAIN_VALIDATE_EVERY": "4",
    "EARSCRIBE_GENERATE_METHOD": "greedy",
    "EARSCRIBE_GENERATE_MAX_TOKENS": "16",
}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(frozen=True)
class Journey:
    """One demo process and the summaries it printed."""

    code: int
    stages: dict[str, dict]
    stage_s: dict[str, float]
    err: str


def start(data: Path, port: int) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "cli", "demo", "--json", "--steps", "8"]
    return subprocess.Popen(
        [*command, "--data", str(data), "--port", str(port)],
        cwd=ROOT,
        env={**os.environ, **SHORT},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def summaries(process: subprocess.Popen[str]) -> Iterator[dict]:
    assert process.stdout
    for line in process.stdout:
        yield json.loads(line)


def run(data: Path, port: int) -> Journey:
    process = start(data, port)
    last = time.monotonic()
    stages, stage_s = {}, {}
    for summary in summaries(process):
        now = time.monotonic()
        stages[summary["stage"]], stage_s[summary["stage"]], last = summary, now - last, now
    _, err = process.communicate()
    return Journey(process.returncode, stages, stage_s, err)


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("demo") / "data"


@pytest.fixture(scope="module")
def port() -> int:
    return free_port()


@pytest.fixture(scope="module")
def first(data: Path, port: int) -> Journey:
    journey = run(data, port)
    assert journey.code == 0, journey.err
    return journey


def test_every_stage_ran_and_its_counts_add_up(first: Journey, data: Path) -> None:
    assert list(first.stages) == STAGES
    for summary in first.stages.values():
        assert summary["work_done"] > 0 or summary["stage"] == "validate"  # which only reads
    index = pq.read_table(data / PAIRS_NAME)
    assert index.num_rows == first.stages["pair"]["total"] == first.stages["fetch"]["total"]
    ends = Counter(
        row["status"] + (f": {why}" if (why := row["error_class"] or row["filter_reason"]) else "")
        for row in index.select(["status", "error_class", "filter_reason"]).to_pylist()
    )
    assert first.stages["fetch"]["counts"] == ends  # counted from the file, not by the stage


def test_the_corpus_is_crawled_whole(first: Journey) -> None:
    counts = first.stages["crawl"]["counts"]
    assert counts == {"gone": 1, "no_prose": 1, "parsed": 9}  # eight works and the article


def test_a_second_run_does_no_work_again(first: Journey, data: Path, port: int) -> None:
    before = {path: path.stat().st_mtime_ns for path in (data / "clips").rglob("*.flac")}
    second = run(data, port)
    assert second.code == 0, second.err
    assert list(second.stages) == STAGES
    assert {name: s["work_done"] for name, s in second.stages.items()} == dict.fromkeys(STAGES, 0)
    assert second.stages["replica"]["total"] == 0
    assert {path: path.stat().st_mtime_ns for path in (data / "clips").rglob("*.flac")} == before


def test_ten_kills_lose_nothing(first: Journey, data: Path, tmp_path: Path) -> None:
    """One kill at a random moment of each stage, then an undisturbed run."""
    seed = random.randrange(10**6)
    moments = random.Random(seed)
    killed = tmp_path / "killed"
    port = free_port()
    hits = 0
    for before, stage in zip([None, *STAGES], STAGES, strict=False):
        process = start(killed, port)
        seen = None
        while seen != before:
            seen = next(summaries(process))["stage"]
        time.sleep(moments.uniform(0, 0.7 * first.stage_s[stage]))
        process.send_signal(signal.SIGKILL)
        process.communicate()
        hits += process.returncode == -signal.SIGKILL
    assert hits >= 8, (seed, "most journeys ended before their kill")
    last = run(killed, port)
    assert last.code == 0, (seed, last.err)
    assert last.stages["validate"]["details"]["findings"] == 0, seed
    for name in ("crawl", "fetch", "split", "evaluate"):
        assert last.stages[name]["counts"] == first.stages[name]["counts"], (seed, name)
    same = pq.read_table(killed / PAIRS_NAME).drop_columns(["source_url", "page_url"])
    assert same.equals(pq.read_table(data / PAIRS_NAME).drop_columns(["source_url", "page_url"]))
    # what a killed stage had finished was not asked for again by the stages after it
    assert last.stages["replica"]["total"] == 0, seed


def test_the_journey_in_the_documents_is_this_one(first: Journey, data: Path) -> None:
    told = (ROOT / "docs" / "journey.md").read_text(encoding="utf-8")
    named = dict(re.findall(r"^    (\w+) +([^ {\n]+)", told, re.M))
    rows = pq.read_table(data / PAIRS_NAME).to_pylist()
    row = next(row for row in rows if row["pair_id"] == named["pair_id"])
    assert row["clip_id"] == named["clip_id"]
    for column in ("start_s", "actual_start_s", "num_tokens", "sample_rate", "loudness_lufs"):
        assert float(named[column]) == row[column], column
    caption = " ".join(told.split("caption        ")[1].split("    movements ")[0].split())
    assert caption == row["caption"]


def command(*arguments: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cli", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, **SHORT},
        capture_output=True,
        text=True,
        check=False,
    )


def one_line(ran: subprocess.CompletedProcess[str]) -> str:
    assert ran.returncode == 1, ran.stderr
    lines = ran.stderr.strip().splitlines()
    assert len(lines) == 1, ran.stderr
    return lines[0]


def test_a_taken_port_is_one_line(tmp_path: Path) -> None:
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))
        holder.listen()
        taken = holder.getsockname()[1]
        line = one_line(command("demo", "--data", tmp_path / "data", "--port", taken))
    assert str(taken) in line
    assert "--port" in line


def test_a_folder_of_another_version_is_one_line(tmp_path: Path) -> None:
    import sqlite3

    db = sqlite3.connect(tmp_path / LEDGER_NAME)
    db.execute("PRAGMA user_version=99")
    db.commit()
    db.close()
    line = one_line(command("demo", "--data", tmp_path, "--port", free_port()))
    assert "ledger version 99" in line


def test_a_folder_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    line = one_line(command("demo", "--data", tmp_path / "file" / "x", "--port", free_port()))
    assert "cannot write" in line


def test_a_clip_that_vanished_is_found_and_cut_again(first: Journey, data: Path, port: int) -> None:
    clip = min((data / "clips").rglob("*.flac"))
    body = clip.read_bytes()
    clip.unlink()
    found = command("validate", "--data", data, "--json")
    assert found.returncode == 3
    missing = json.loads(found.stdout)["details"]["missing"]
    assert [clip.stem in finding["item"] for finding in missing] == [True]
    healed = run(data, port)
    assert healed.code == 0, healed.err
    assert clip.read_bytes() == body
    assert healed.stages["replica"]["total"] == 0  # from sources/, without a new fetch


def test_a_recording_is_captioned(first: Journey, data: Path) -> None:
    recording = min((ROOT / "data" / "demo" / "audio").iterdir())
    ran = command("caption", recording, "--run", data / "runs" / "tiny")
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.strip()
    ran = command("caption", ROOT / "README.md", "--run", data / "runs" / "tiny")
    assert "README.md" in one_line(ran)
