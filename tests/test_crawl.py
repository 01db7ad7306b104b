"""The crawl against the replica: works, faults, refusals, kills. Each crawl has its own process."""

import asyncio
import hashlib
import json
import math
import os
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from crawler.crawl import CrawlConfig, crawl, reparse, wanted_pages
from crawler.errors import LockedError, UserError
from crawler.items import Work, read_works, work_to_dict
from crawler.ledger import Ledger, State, folder_lock
from crawler.pages import DEFAULT, WorkPage
from crawler.pagestore import load_page, page_path
from crawler.pipelines import Fetched, Outcome, failed, status_class
from crawler.reader import Reader
from crawler.summary import Summary
from demo.site import Replica, serve

ROOT = Path(__file__).parent.parent
FIXTURE = ROOT / "tests" / "fixtures" / "site"
DEMO = ROOT / "data" / "demo"
ARTICLE = "/article/What-Is-An-Example/"
WORKS = [work.work_id for work in read_works(FIXTURE / "works.jsonl")]
PROGRAM = """
import dataclasses, json, os, sys, logging
from pathlib import Path
from crawler.crawl import CrawlConfig, crawl
logging.basicConfig(level=logging.WARNING)
data, settings = Path(sys.argv[1]), json.loads(sys.argv[2])
settings["seeds"] = tuple(settings["seeds"])
progress, listening = [], set()
def told(*step):
    progress.append(step)
    mine = {os.readlink(fd.path) for fd in os.scandir("/proc/self/fd") if os.path.islink(fd.path)}
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    listening.update(row[1] for row in rows if row[3] == "0A" and f"socket:[{row[9]}]" in mine)
summary = crawl(data, CrawlConfig(**settings), told)
row = dataclasses.asdict(summary) | {"artifact": str(summary.artifact), "progress": progress}
print(json.dumps(row | {"scrapy": "scrapy" in sys.modules, "listening": [*listening]}))
"""


@pytest.fixture
def replica() -> Iterator[Replica]:
    with serve(FIXTURE) as running:
        yield running


def start(
    replica: Replica, data: Path, seeds: Sequence[str], **settings: Any
) -> subprocess.Popen[str]:
    """A crawl of the replica in a process of its own."""
    basis = {
        "site": replica.address,
        "seeds": [*seeds],
        "delay_s": 0,
        "retries": 0,
        "page_timeout_s": 5,
    }
    settings = basis | {"video_url": replica.address + "/watch?v={id}"} | settings
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data), json.dumps(settings)],
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(process: subprocess.Popen[str]) -> dict[str, Any]:
    """The summary that a crawl prints; it prints nothing else."""
    out, log = process.communicate(timeout=100)
    assert process.returncode == 0, log
    lines = out.splitlines()
    assert len(lines) == 1, out
    assert "Traceback" not in log
    summary: dict[str, Any] = json.loads(lines[0]) | {"log": log}
    return summary


def rehosted(work: Work, address: str) -> dict[str, Any]:
    """A work of the corpus as a crawl from `address` has to bring it."""
    recordings = tuple(
        replace(item, parts=tuple(replace(part, url=address + part.url) for part in item.parts))
        for item in work.recordings
    )
    return work_to_dict(replace(work, page_url=address + work.page_url, recordings=recordings))


def test_the_demo_corpus_comes_back_and_nothing_is_asked_for_twice(tmp_path: Path) -> None:
    works = read_works(DEMO / "works.jsonl")
    articles = json.loads((DEMO / "articles.json").read_text())
    seeds = [work.work_id for work in works]
    seeds += [f"/article/{article['article_id']}/" for article in articles] + ["Gone-Work"]
    with serve(DEMO) as replica:
        first = finish(start(replica, tmp_path, seeds))
        asked = len(replica.requests)
        second = finish(start(replica, tmp_path, seeds))
        assert len(replica.requests) == asked == len(seeds) + 1
        address = replica.address
    bare = sum(not work.notes for work in works)
    prose = len(works) - bare + len(articles)
    assert first["counts"] == {"parsed": prose, "no_prose": bare, "gone": 1}
    assert (first["total"], first["work_done"], first["incomplete"]) == (11, 11, False)
    assert first["progress"] == [[done, len(seeds)] for done in range(1, len(seeds) + 1)]
    assert first["listening"] == []
    assert first["log"] == second["log"] == ""
    assert (second["counts"], second["work_done"]) == (first["counts"], 0)
    assert (first["scrapy"], second["scrapy"]) == (True, False)
    found = read_works(tmp_path / "works.jsonl")
    assert [work_to_dict(replace(work, page_sha256=None)) for work in found] == [
        rehosted(work, address) for work in works
    ]
    for work in found:
        stored = load_page(tmp_path, str(work.page_sha256)).decode()
        again = WorkPage(stored, work.page_url, video_url=address + "/watch?v={id}").work()
        assert replace(again, page_sha256=work.page_sha256) == work
    lines = (tmp_path / "articles.jsonl").read_text().splitlines()
    assert [json.loads(line)["text"] for line in lines[1:]] == [item["text"] for item in articles]


def test_every_fault_ends_with_its_reason_and_only_passing_ones_are_tried_again(
    tmp_path: Path,
) -> None:
    faults = {
        "404": "gone", "500": "failed: server_error", "html": "failed: not_work_page",
        "truncate": "failed: network", "410": "gone", "slow": "failed: timeout",
        "elsewhere": "failed: redirect", "reset": "failed: network",
        "empty": "failed: not_html",
    }  # fmt: skip
    template = read_works(FIXTURE / "works.jsonl")[1]
    with serve(FIXTURE) as replica:
        for fault in faults:
            replica.corpus.works[f"Fault-{fault}"] = replace(template, title=f"Trio of {fault}")
            replica.faults[f"/chamber-music/Fault-{fault}/"] = fault
        seeds = [f"Fault-{fault}" for fault in faults] + ["Private-Work", WORKS[0]]
        first = finish(start(replica, tmp_path, seeds, page_timeout_s=1))
        expected: dict[str, int] = {"parsed": 1, "failed: robots": 1}
        for reason in faults.values():
            expected[reason] = expected.get(reason, 0) + 1
        assert (first["counts"], first["incomplete"]) == (expected, True)
        assert replica.served("/chamber-music/Private") == 0
        replica.faults.clear()
        before = len(replica.requests)
        second = finish(start(replica, tmp_path, seeds))
        assert again(replica, before) == {
            "Fault-500",
            "Fault-elsewhere",
            "Fault-truncate",
            "Fault-slow",
            "Fault-reset",
        }
    assert (second["work_done"], second["incomplete"]) == (5, False)
    assert second["counts"]["parsed"] == 6
    with Ledger(tmp_path, read_only=True) as ledger:
        tried = ledger.attempts("page", "Fault-500")
        classes = [(attempt["state"], attempt["error_class"]) for attempt in tried]
        assert classes == [("failed", "server_error"), ("ok", None)]
        assert json.loads(tried[0]["tools"])["scrapy"]
        told = ledger.attempts("page", "Fault-elsewhere")[0]["message"]
    assert told is not None
    assert "192.0.2.1" in told


@pytest.mark.parametrize(
    ("path", "fault", "reason", "asked"),
    [
        ("/robots.txt", "503", "robots.txt cannot be read", 0),
    ],
)
def test_the_crawl_stops_where_it_is_not_wanted(
    replica: Replica, tmp_path: Path, path: str, fault: str, reason: str, asked: int
) -> None:
    replica.faults[path] = fault
    seeds = ["First", *(f"Further-{number}" for number in range(20))]
    summary = finish(start(replica, tmp_path, seeds))
    assert reason in summary["details"]["stopped"]
    assert summary["incomplete"]
    assert summary["counts"]["pending"] >= 18
    assert sum(summary["counts"].values()) == 21
    assert replica.served("/chamber-music/") <= asked


def test_an_unreachable_site_is_told_apart(tmp_path: Path) -> None:
    with serve(FIXTURE) as replica:
        pass
    summary = finish(start(replica, tmp_path, [*WORKS, "Gone-Work"]))
    assert summary["incomplete"]
    assert set(summary["counts"]) <= {"failed: network", "pending"}
    assert summary["details"]["stopped"]
    assert read_works(tmp_path / "works.jsonl") == []


def wait_for(replica: Replica, pages: int) -> None:
    """Until the replica was asked for so many pages."""
    end = time.monotonic() + 60
    while replica.served("/chamber-music/") < pages:
        assert time.monotonic() < end
        time.sleep(0.002)


def test_an_interrupted_crawl_keeps_what_it_has(replica: Replica, tmp_path: Path) -> None:
    seeds = [*WORKS, *(f"Gone-{number}" for number in range(40))]
    process = start(replica, tmp_path, seeds, delay_s=0.2)
    wait_for(replica, 4)
    process.send_signal(signal.SIGTERM)
    summary = finish(process)
    times = [request.time_s for request in replica.requests if "/chamber-music/" in request.path]
    assert min(after - before for before, after in pairwise(times)) > 0.19
    assert summary["incomplete"]
    assert summary["details"]["stopped"] == "shutdown"
    assert summary["work_done"] == replica.served("/chamber-music/")
    assert summary["counts"]["pending"] == len(seeds) - summary["work_done"]
    assert [work.work_id for work in read_works(tmp_path / "works.jsonl")] == WORKS


def again(replica: Replica, since: int) -> set[str]:
    """The slugs that the replica was asked for since its so-many-th request."""
    paths = [request.path for request in replica.requests[since:]]
    return {path.split("/")[2] for path in paths if path.startswith("/chamber-music/")}


@pytest.mark.slow
def test_a_killed_crawl_loses_and_repeats_nothing(tmp_path: Path) -> None:
    works = read_works(DEMO / "works.jsonl")
    seeds = [*(work.work_id for work in works), "Gone-Work"]
    chance = random.Random(4)
    with serve(DEMO) as replica:
        finish(start(replica, tmp_path / "calm", seeds))
        asked, before = len(replica.requests), set[str]()
        for pages in (2, 3):
            process = start(replica, tmp_path / "killed", seeds, delay_s=0.05)
            wait_for(replica, replica.served("/chamber-music/") + pages)
            time.sleep(chance.uniform(0, 0.1))
            process.kill()
            process.wait()
            with Ledger(tmp_path / "killed", read_only=True) as ledger:
                committed = set(ledger.entries("page"))
            assert not again(replica, asked) & before
            asked, before = len(replica.requests), committed
        last = finish(start(replica, tmp_path / "killed", seeds))
        assert not again(replica, asked) & before
        assert before
    assert last["counts"] == {"parsed": 8, "no_prose": 1, "gone": 1}
    for name in ("works.jsonl", "articles.jsonl"):
        assert (tmp_path / "killed" / name).read_bytes() == (tmp_path / "calm" / name).read_bytes()
    assert not list((tmp_path / "killed").rglob(".tmp-*"))


LIVE = CrawlConfig(seeds=("X",), contact="https://example.org/crawl")


@pytest.mark.parametrize(
    ("config", "word"),
    [
        (CrawlConfig(seeds=("X",)), "--contact"),
        (replace(LIVE, contact="a@example.org\r\nX: y"), "cannot be sent"),
        (replace(LIVE, contact="zoë@example.org"), "cannot be sent"),
        (replace(LIVE, delay_s=4.9), r"4\.9.*5"),
        (replace(LIVE, site="www.earsense.org"), "www.earsense.org"),
        (replace(LIVE, site="file:///etc"), "file:///etc"),
        (replace(LIVE, site="http://127.0.0.1.example.org", contact=None), "--contact"),
        (replace(LIVE, site="http://[::1"), "is no site"),
        (replace(LIVE, site="http://127.0.0.1:99999"), "is no site"),
        (replace(LIVE, site="https://www.earsense.org/?x=1"), "is no site"),
        (replace(LIVE, seeds=("http://earsense.org:99999/chamber-music/x/",)), "is not on"),
        (replace(LIVE, delay_s=math.nan), "delay_s nan"),
        (replace(LIVE, page_timeout_s=math.inf), "page_timeout_s inf"),
        (replace(LIVE, max_pages=0), "max_pages 0 is below 1"),
        (replace(LIVE, video_url="https://example.org/"), r"\{id\}"),
        (replace(LIVE, page_timeout_s=-1.0), "timeout_s"),
        (replace(LIVE, seeds=("../etc",)), r"\.\./etc"),
        (replace(LIVE, seeds=("https://example.org/chamber-music/x/",)), "example.org"),
        (replace(LIVE, seeds_file=Path("/nowhere/seeds.txt")), "/nowhere/seeds.txt"),
    ],
)
def test_a_wrong_setting_is_one_line_and_touches_nothing(
    tmp_path: Path, config: CrawlConfig, word: str
) -> None:
    with pytest.raises(UserError, match=word) as refusal:
        crawl(tmp_path / "data", config)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "data").exists()


def test_seeds_come_from_flags_and_files_each_once(tmp_path: Path) -> None:
    path = tmp_path / "seeds.txt"
    path.write_text(
        "\ufeff# mine\nB-Work # of B\n\n  # more\n  /article/C/ \nhttp://earsense.org/chamber-music/A?ri=3\n"
    )
    found = wanted_pages(replace(LIVE, seeds=("A", "A"), seeds_file=path))
    site = "https://www.earsense.org"
    assert found == {
        "A": f"{site}/chamber-music/A/",
        "B-Work": f"{site}/chamber-music/B-Work/",
        "article/C": f"{site}/article/C/",
    }
    path.write_text("B-Work\n../etc\n")
    with pytest.raises(UserError, match=rf"{path} line 2: '\.\./etc' is no page"):
        wanted_pages(replace(LIVE, seeds_file=path))


def test_a_busy_folder_and_one_that_is_not_writable_are_named(tmp_path: Path) -> None:
    with folder_lock(tmp_path), pytest.raises(LockedError, match=str(tmp_path)):
        crawl(tmp_path, LIVE)
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="file/data"):
        crawl(tmp_path / "file" / "data", LIVE)


@pytest.mark.parametrize("stage", [crawl, reparse])
def test_imported_works_are_not_written_over(
    tmp_path: Path, stage: Callable[[Path, CrawlConfig], Summary]
) -> None:
    imported = (FIXTURE / "works.jsonl").read_bytes()
    (tmp_path / "works.jsonl").write_bytes(imported)
    with pytest.raises(UserError, match=f"{tmp_path} holds imported works, such as {WORKS[0]}"):
        stage(tmp_path, CrawlConfig(site="http://127.0.0.1:9"))
    assert (tmp_path / "works.jsonl").read_bytes() == imported


def test_a_page_whose_body_is_gone_is_asked_for_again(replica: Replica, tmp_path: Path) -> None:
    first = finish(start(replica, tmp_path, WORKS))
    works = (tmp_path / "works.jsonl").read_bytes()
    shutil.rmtree(tmp_path / "pages")
    part = finish(start(replica, tmp_path, WORKS, max_pages=1))
    assert (part["work_done"], part["incomplete"]) == (1, True)
    rest = finish(start(replica, tmp_path, WORKS))
    assert (rest["work_done"], rest["incomplete"]) == (len(WORKS) - 1, False)
    assert rest["counts"] == first["counts"]
    assert (tmp_path / "works.jsonl").read_bytes() == works
    assert finish(start(replica, tmp_path, WORKS))["work_done"] == 0


SHA256 = "00" * 32


@pytest.mark.parametrize("name", ["pages", "works.jsonl"])
def test_a_file_or_folder_in_the_way_is_one_line(tmp_path: Path, name: str) -> None:
    odd = tmp_path / name
    odd.mkdir() if "." in name else odd.touch()
    with pytest.raises(UserError, match=f"{name} is a .*--data"):
        crawl(tmp_path, CrawlConfig(site="http://127.0.0.1:9"))


@pytest.mark.parametrize(
    "result",
    [
        {},
        {"kind": "work"},
        {"kind": "work", "work": {"n": 1}},
        {"fetched_s": "soon"},
        {"sha256": SHA256},
        {"sha256": SHA256, "url": 3},
        {"headers": ["ETag"]},
        {"headers": {"ETag": 3}},
    ],
)
def test_a_page_that_the_ledger_tells_wrong_is_one_line(
    tmp_path: Path, result: dict[str, Any]
) -> None:
    with Ledger(tmp_path) as ledger:
        ledger.record("page", "X", State.OK, result=result)
    with pytest.raises(UserError, match="damaged at page X") as told:
        crawl(tmp_path, LIVE)
    assert "\n" not in str(told.value)


def test_status_classes() -> None:
    classes = {200: None, 404: "gone", 410: "gone", 401: "blocked", 403: "blocked", 451: "blocked",
               408: "network", 425: "network", 429: "rate_limited", 500: "server_error",
               503: "server_error", 418: "http_error",
               304: "http_error"}  # fmt: skip
    assert {status: status_class(status) for status in classes} == classes


def test_a_body_that_is_no_text_is_stored_and_refused(tmp_path: Path) -> None:
    fetched = Fetched(
        url="http://x/chamber-music/X/",
        started_s=0.0,
        status=200,
        body=b"\x89PNG\r\n\x1a\n\x00\x00",
    )
    with closing(Reader(tmp_path, "{id}", DEFAULT, 20.0)) as reader:
        outcome = asyncio.run(reader.judge(fetched))
    assert (outcome.state, outcome.error_class) == ("failed", "not_html")
    assert load_page(tmp_path, outcome.result["sha256"]) == fetched.body
    json.dumps(outcome.result)


def test_our_own_error_comes_out_of_the_crawl(replica: Replica, tmp_path: Path) -> None:
    page = replica.corpus.answer(f"/chamber-music/{WORKS[0]}/", replica.address).body
    page_path(tmp_path, hashlib.sha256(page).hexdigest()).mkdir(parents=True)  # in the file's place
    process = start(replica, tmp_path, WORKS[:1])
    _, log = process.communicate(timeout=100)
    assert process.returncode == 1
    assert "Traceback" in log
    assert "Error" in log.splitlines()[-1]


# ------------------------------------------------------------------------------------------------
# Old pages, linked pages, pages by another name


def settings_of(replica: Replica, **more: Any) -> CrawlConfig:
    """The settings of `start`, for what needs no process of its own."""
    return CrawlConfig(site=replica.address, video_url=replica.address + "/watch?v={id}", **more)


def works_of(data: Path) -> list[str]:
    return [work.work_id for work in read_works(data / "works.jsonl")]


def test_old_pages_are_asked_for_again_and_kept_when_they_are_the_same(
    replica: Replica, tmp_path: Path
) -> None:
    seeds = [*WORKS, "Gone-Work"]
    finish(start(replica, tmp_path, seeds))
    works = (tmp_path / "works.jsonl").read_bytes()
    asked = len(replica.requests)
    assert finish(start(replica, tmp_path, seeds, refresh_after_days=1))["work_done"] == 0
    assert len(replica.requests) == asked
    summary = finish(start(replica, tmp_path, seeds, refresh_after_days=0))
    assert (summary["work_done"], summary["incomplete"]) == (len(seeds), False)
    answers = {item.path: item.status for item in replica.requests[asked:]}
    assert [answers[f"/chamber-music/{work}/"] for work in WORKS] == [304] * len(WORKS)
    assert (tmp_path / "works.jsonl").read_bytes() == works
    changed = replace(replica.corpus.works[WORKS[0]], title="Trio in A major")
    replica.corpus.works[WORKS[0]] = changed
    replica.faults[f"/chamber-music/{WORKS[1]}/"] = "500"
    again = finish(start(replica, tmp_path, seeds, refresh_after_days=0))
    found = {work.work_id: work.title for work in read_works(tmp_path / "works.jsonl")}
    assert found[WORKS[0]] == "Trio in A major"
    assert sorted(found) == sorted(WORKS)  # a bad day takes no page away
    assert again["incomplete"]
    with Ledger(tmp_path, read_only=True) as ledger:
        assert "server_error" in str(ledger.entries("page")[WORKS[1]].message)


def test_nothing_is_read_again_where_nothing_was_crawled(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no stored pages"):
        reparse(tmp_path / "data", LIVE)
    assert not (tmp_path / "data").exists()


def test_a_failing_parser_takes_no_work_away(
    replica: Replica, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish(start(replica, tmp_path, WORKS))
    works = (tmp_path / "works.jsonl").read_bytes()

    async def slow(self: Reader, page: Fetched) -> Outcome:
        return failed("timeout", "too slow")

    monkeypatch.setattr(Reader, "judge", slow)
    summary = reparse(tmp_path, settings_of(replica))
    assert (summary.work_done, summary.details["not read again"]) == (0, len(WORKS))
    assert (tmp_path / "works.jsonl").read_bytes() == works


def test_stored_pages_are_read_again_without_a_request(replica: Replica, tmp_path: Path) -> None:
    finish(start(replica, tmp_path, WORKS))
    asked = len(replica.requests)
    works = (tmp_path / "works.jsonl").read_bytes()
    config = settings_of(replica)
    same = reparse(tmp_path, config)
    assert (same.work_done, same.total) == (0, len(WORKS))
    standard = (ROOT / "crawler" / "selectors.toml").read_text()
    other = tmp_path / "selectors.toml"
    other.write_text(re.sub(r"^title = .*$", 'title = "nowhere"', standard, flags=re.M))
    read = reparse(tmp_path, replace(config, selectors=other))
    assert read.work_done > 0
    methods = {row["field"]: row["methods"] for row in read.details["coverage"]}
    assert "selector" not in methods["title"]
    back = reparse(tmp_path, config)
    assert back.work_done == read.work_done
    assert (tmp_path / "works.jsonl").read_bytes() == works
    assert len(replica.requests) == asked
    first, second, *_ = sorted((tmp_path / "pages").rglob("*.gz"))
    first.write_bytes(b"")  # as a power cut may leave it
    second.write_bytes(b"not what it was")
    assert reparse(tmp_path, config).incomplete
    assert finish(start(replica, tmp_path, WORKS))["work_done"] == 2
    assert not reparse(tmp_path, config).incomplete


def test_a_page_that_was_none_is_kept_and_read_when_the_parser_can(
    replica: Replica, tmp_path: Path
) -> None:
    replica.faults[f"/chamber-music/{WORKS[0]}/"] = "html"
    first = finish(start(replica, tmp_path, WORKS))
    assert first["counts"]["failed: not_work_page"] == 1
    config = settings_of(replica)
    assert reparse(tmp_path, config).counts == first["counts"]
    standard = (ROOT / "crawler" / "selectors.toml").read_text()
    kind = tmp_path / "kind.toml"
    kind.write_text(re.sub(r"^(composer|title) = .*$", r'\1 = "h1"', standard, flags=re.M))
    read = reparse(tmp_path, replace(config, selectors=kind))
    assert "failed: not_work_page" not in read.counts
    assert {work.title for work in read_works(tmp_path / "works.jsonl")} >= {"Back soon"}


@pytest.mark.parametrize("kept", [True, False])
def test_links_lead_to_further_pages_within_the_budget(
    replica: Replica, tmp_path: Path, kept: bool
) -> None:
    last = WORKS[-1]
    linked = "".join(
        f'<a href="{path}">x</a>'
        for path in (f"/chamber-music/{last}/", f"/chamber-music/{WORKS[1]}/?ri=3", "/search/",
                     "/blog/?cat=7", "http://[oops", "javascript:void(0)", "mailto:x@y",
                     f"http://192.0.2.1/chamber-music/{WORKS[1]}/", ARTICLE)
    )  # fmt: skip
    replica.corpus.__class__ = type(
        "Linked",
        (type(replica.corpus),),
        {"answer": lambda self, target, address: linked_answer(self, target, address, linked)},
    )
    if kept:  # the links of a page that was fetched without --discover are found in the store
        finish(start(replica, tmp_path, WORKS[:1]))
    one = finish(start(replica, tmp_path, WORKS[:1], discover=True, max_pages=2 - kept))
    assert one["incomplete"]
    assert "max_pages" in one["details"]["stopped"]
    every = finish(start(replica, tmp_path, WORKS[:1], discover=True))
    assert (every["total"], every["incomplete"]) == (3, False)
    assert every["counts"].get("pending", 0) == 0
    assert works_of(tmp_path) == sorted({WORKS[0], last})
    asked = [item.path for item in replica.requests if item.path != "/robots.txt"]
    assert sorted(asked) == sorted(
        [f"/chamber-music/{WORKS[0]}/", f"/chamber-music/{last}/", ARTICLE]
    )


def linked_answer(corpus: Any, target: str, address: str, linked: str) -> Any:
    """The corpus's answer, with links at the end of a work's page."""
    answer = type(corpus).__mro__[1].answer(corpus, target, address)
    if not target.startswith(f"/chamber-music/{WORKS[0]}/"):
        return answer
    return replace(answer, body=answer.body.replace(b"</body>", linked.encode() + b"</body>"))


def test_a_work_that_moved_is_one_work_under_its_new_name(replica: Replica, tmp_path: Path) -> None:
    replica.faults["/chamber-music/Old-Name/"] = f"/chamber-music/{WORKS[0]}/"
    replica.faults["/chamber-music/Lost-Name/"] = "/"
    summary = finish(start(replica, tmp_path, ["Old-Name", WORKS[0], "Lost-Name"]))
    assert sum(summary["counts"].get(end, 0) for end in ("parsed", "no_prose")) == 2
    assert summary["counts"]["failed: redirect"] == 1
    assert works_of(tmp_path) == WORKS[:1]


def test_without_seeds_all_known_works_are_wanted_and_fields_are_owed(
    replica: Replica, tmp_path: Path
) -> None:
    site = "https://www.earsense.org"
    known = wanted_pages(CrawlConfig())
    assert len(known) == 793
    assert known["Josef-Suk-Piano-Quintet-in-g-minor-Op-8"].startswith(f"{site}/chamber-music/")
    summary = finish(start(replica, tmp_path, [], max_pages=2))
    assert (summary["total"], summary["counts"]) == (793, {"gone": 2, "pending": 791})
    assert "793" in summary["details"]["seeds"]
    assert "findings" not in summary["details"]
    assert summary["incomplete"]
    with Ledger(tmp_path) as ledger:
        for slug in known:
            ledger.record("page", slug, State.FAILED, error_class="gone")
    full = finish(start(replica, tmp_path, []))
    assert full["counts"] == {"gone": 793}
    assert full["details"]["findings"] == ["no page was read as a work"]
    assert not full["scrapy"]
    assert (
        reparse(tmp_path, settings_of(replica)).details["findings"] == full["details"]["findings"]
    )
    stats = json.loads((tmp_path / "crawl-stats.json").read_text())
    assert stats["counts"] == full["counts"]


def test_one_page_is_fetched_politely_and_kept_nowhere(replica: Replica, tmp_path: Path) -> None:
    program = (
        "import sys; from crawler.crawl import CrawlConfig, fetch_page; "
        "from crawler.pipelines import failure; "
        "found = fetch_page(sys.argv[1], CrawlConfig(delay_s=0, retries=0)); "
        "print(found.url, found.status, failure(found), len(found.text))"
    )

    def fetched(path: str) -> str:
        address = replica.address + path
        command = [sys.executable, "-c", program, address]
        answer = subprocess.run(
            command, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True, text=True, check=True, timeout=60,
        )  # fmt: skip
        return answer.stdout

    path = f"/chamber-music/{WORKS[0]}/"
    length = len(replica.corpus.answer(path, replica.address).body.decode())
    assert fetched(path + "?ri=3") == f"{replica.address}{path} 200 None {length}\n"
    assert [item.path for item in replica.requests] == ["/robots.txt", path]
    assert "robots" in fetched("/chamber-music/Private-Work/")
    assert "gone" in fetched("/chamber-music/Gone-Work/")
    assert replica.served("/chamber-music/Private") == 0
    assert not list(tmp_path.iterdir())
