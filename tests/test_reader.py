"""The parser in its own process: what it answers, and what happens when it does not."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path

import pytest

from crawler.errors import UserError
from crawler.items import read_works
from crawler.pages import DEFAULT
from crawler.pagestore import load_page
from crawler.pipelines import Fetched
from crawler.reader import Reader
from demo.markup import markup_of, render_work

ROOT = Path(__file__).parent.parent
WORK = read_works(ROOT / "tests" / "fixtures" / "site" / "works.jsonl")[0]
PAGE = Fetched(
    url=f"https://www.earsense.org/chamber-music/{WORK.work_id}/",
    started_s=5.0,
    status=200,
    body=render_work(WORK, markup_of(WORK.work_id)).encode(),
)


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    with closing(Reader(tmp_path, "{id}", DEFAULT, 20.0)) as running:
        yield running


def pid(reader: Reader) -> int:
    assert reader._process
    return reader._process.pid


def test_a_page_is_stored_and_read(reader: Reader, tmp_path: Path) -> None:
    outcome = asyncio.run(reader.judge(PAGE))
    assert outcome.state == "ok"
    assert outcome.result["work"]["title"] == WORK.title
    assert load_page(tmp_path, outcome.result["sha256"]) == PAGE.body
    first = pid(reader)
    assert asyncio.run(reader.judge(replace(PAGE, status=404))).error_class == "gone"
    assert asyncio.run(reader.judge(PAGE)) == outcome
    assert pid(reader) == first


def test_a_page_that_takes_too_long_fails_alone(tmp_path: Path) -> None:
    with closing(Reader(tmp_path, "{id}", DEFAULT, 1.0)) as reader:
        reader.start()
        asyncio.run(reader.judge(PAGE))
        os.kill(pid(reader), signal.SIGSTOP)  # as a parser that never ends
        other = replace(PAGE, body=PAGE.body + b" ")
        outcome = asyncio.run(reader.judge(other))
        assert (outcome.error_class, outcome.result["url"]) == ("timeout", PAGE.url)
        assert load_page(tmp_path, outcome.result["sha256"]) == other.body
        reader._limit_s = 20.0
        assert asyncio.run(reader.judge(PAGE)).state == "ok"


def test_a_large_page_that_is_not_taken_fails_alone(tmp_path: Path) -> None:
    with closing(Reader(tmp_path, "{id}", DEFAULT, 1.0)) as reader:
        reader.start()
        asyncio.run(reader.judge(PAGE))
        os.kill(pid(reader), signal.SIGSTOP)
        large = replace(PAGE, body=PAGE.body + b" " * 1_000_000)
        outcome = asyncio.run(reader.judge(large))
        assert (outcome.error_class, outcome.result["url"]) == ("timeout", PAGE.url)
        assert load_page(tmp_path, outcome.result["sha256"]) == large.body
        reader._limit_s = 20.0
        assert asyncio.run(reader.judge(large)).state == "ok"


def test_a_parser_that_does_not_start_fails_the_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("crawler.reader.START_S", 0.5)
    with closing(Reader(tmp_path, "{id}", DEFAULT, 1.0)) as reader:
        reader.start()
        os.kill(pid(reader), signal.SIGSTOP)
        assert asyncio.run(reader.judge(PAGE)).error_class == "timeout"


def test_a_page_that_ends_the_process_fails_alone(
    reader: Reader, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    reader.start()
    os.kill(pid(reader), signal.SIGKILL)
    assert asyncio.run(reader.judge(PAGE)).state == "ok"  # a new process reads it
    reader.close()
    start = reader.start

    def killed() -> None:
        start()
        os.kill(pid(reader), signal.SIGKILL)

    monkeypatch.setattr(reader, "start", killed)
    outcome = asyncio.run(reader.judge(PAGE))
    assert outcome.error_class == "parser"
    assert outcome.result["passing"]  # whatever ended it, a later run asks again
    assert "-9" in str(outcome.message)
    assert load_page(tmp_path, outcome.result["sha256"]) == PAGE.body
    monkeypatch.undo()
    assert asyncio.run(reader.judge(PAGE)).state == "ok"


def test_wrong_selectors_come_back_as_what_they_are(tmp_path: Path) -> None:
    wrong = replace(DEFAULT, work={**DEFAULT.work, "title": "h1["})
    reader = Reader(tmp_path, "{id}", wrong, 20.0)
    with closing(reader), pytest.raises(UserError, match=r"h1\["):
        asyncio.run(reader.judge(PAGE))


def test_the_process_ends_with_the_one_that_asked(tmp_path: Path) -> None:
    program = (
        "import sys, time; from pathlib import Path; from crawler.reader import Reader; "
        "from crawler.pages import DEFAULT; reader = Reader(Path(sys.argv[1]), '{id}', DEFAULT, 9);"
        "reader.start(); print(reader._process.pid, flush=True); time.sleep(60)"
    )
    asking = subprocess.Popen(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert asking.stdout
    started = Path(f"/proc/{asking.stdout.readline().strip()}")
    assert started.exists()
    asking.kill()
    asking.communicate()
    end = time.monotonic() + 20
    while started.exists() and "State:\tZ" not in (started / "status").read_text():
        assert time.monotonic() < end, "the parser's process outlives its master"
        time.sleep(0.02)
