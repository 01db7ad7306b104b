"""Every bad answer of a site ends in its class: nothing is lost, nothing hangs."""

import dataclasses
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import chain, pairwise
from pathlib import Path
from typing import Any

import pytest
from certificates import issued, self_signed, server_tls

from crawler.crawl import CrawlConfig, crawl
from crawler.errors import UserError
from crawler.items import Work, read_works
from crawler.ledger import Ledger
from crawler.pagestore import load_page
from crawler.pipelines import LOST_HEADING
from demo.markup import markup_of
from demo.site import Corpus, Replica, serve

ROOT = Path(__file__).parent.parent
FIXTURE = ROOT / "tests" / "fixtures" / "site"
ADA = read_works(FIXTURE / "works.jsonl")[0]
WALL_S = 60.0  # a crawl that takes longer hangs
PEAK_MB = 300.0  # a body of 100 MB is never held
PARSED = "parsed"
PROGRAM = """
import dataclasses, json, sys
from pathlib import Path
from crawler.crawl import CrawlConfig, crawl
settings = json.loads(sys.argv[2])
settings["ca_bundle"] = Path(settings["ca_bundle"]) if "ca_bundle" in settings else None
summary = crawl(Path(sys.argv[1]), CrawlConfig(**settings))
said = Path('/proc/self/status').read_text()  # getrusage would tell of the parent's peak too
peak_mb = int(said.partition('VmHWM:')[2].split()[0]) / 1e3
row = dataclasses.asdict(summary) | {"artifact": "", "peak_mb": peak_mb}
print(json.dumps(row))
"""
# How the replica answers -> how the page ends, and whether a second run asks again.
ENDS: dict[str, tuple[str, bool]] = {
    "404": ("gone", False),
    "410": ("gone", False),
    "soft404": ("gone", False),
    "401": ("blocked", True),
    "403": ("blocked", True),
    "451": ("blocked", True),
    "429": ("rate_limited", True),
    "500": ("server_error", True),
    "503": ("server_error", True),
    "reset": ("network", True),
    "truncate": ("network", True),
    "cut-gzip": ("network", True),
    "drip": ("timeout", True),
    "slow": ("timeout", True),
    "huge": ("too_large", False),
    "flood": ("too_large", False),
    "bomb": ("too_large", False),
    "headers": ("too_large", False),
    "empty": ("not_html", False),
    "binary": ("not_html", False),
    "html": ("placeholder", True),
    "elsewhere": ("redirect", True),  # 302: for the time being
    "file:///etc/passwd": ("redirect", True),
    "{other}/chamber-music/Inside/": ("redirect", True),
    "/chamber-music/Bad-Loop/": ("redirect", True),
    "script": (PARSED, False),
    "nested": ("not_work_page", False),  # libxml2 reads 2,048 levels and drops the rest
    "utf8-as-latin1": (PARSED, False),
    "utf8-as-ascii": (PARSED, False),
    "windows-as-utf8": (PARSED, False),
}


def named(slug: str) -> Work:
    """The same work under another name, so that no two pages have one body."""
    return replace(ADA, work_id=slug, title=f"String Quartet in d minor, {slug}")


@dataclass(frozen=True)
class Site:
    """A replica, and the crawls of it."""

    replica: Replica
    data: Path

    def add(self, *slugs: str) -> None:
        """Show a good work under each of these names."""
        self.replica.corpus.works.update({slug: named(slug) for slug in slugs})

    def crawl(self, seeds: Sequence[str], **settings: Any) -> dict[str, Any]:
        """Crawl in a process of its own; its summary."""
        basis = {"site": self.replica.address, "seeds": [*seeds], "delay_s": 0, "retries": 0}
        basis |= {"video_url": self.replica.address + "/watch?v={id}", "page_timeout_s": 10}
        answer = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(self.data), json.dumps(basis | settings)],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=WALL_S,
        )
        assert answer.returncode == 0, answer.stderr
        assert "Traceback" not in answer.stderr
        summary: dict[str, Any] = json.loads(answer.stdout)
        assert sum(summary["counts"].values()) == summary["total"]
        return summary

    def asked(self, since: int = 0) -> list[str]:
        """Slugs of the pages that were asked for since the so-many-th request, in order."""
        paths = [item.path.split("/") for item in self.replica.requests[since:]]
        return [parts[2] for parts in paths if parts[1] == "chamber-music"]

    def pauses_s(self) -> list[float]:
        """Seconds between one request for a page and the next."""
        times = [item.time_s for item in self.replica.requests if item.path != "/robots.txt"]
        return [later - earlier for earlier, later in pairwise(times)]

    def classes(self) -> dict[str, str | None]:
        """Error class of every page that has an end."""
        with Ledger(self.data, read_only=True) as ledger:
            return {key: entry.error_class for key, entry in ledger.entries("page").items()}


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with serve(Corpus([])) as replica:
        yield Site(replica, tmp_path / "data")


@pytest.mark.slow
def test_every_bad_page_ends_in_its_class_in_one_crawl(site: Site) -> None:
    bad = {fault: "Bad-Loop" if "Loop" in fault else f"Bad-{n}" for n, fault in enumerate(ENDS)}
    good = [f"Good-{number}" for number in range(len(bad) + 1)]
    # The same maintenance page at two addresses tells that it is no page of its own.
    seeds = [*chain(*zip(good, bad.values(), strict=False)), "Bad-Twin", good[-1], "Private-Work"]
    site.add(*bad.values(), *good, "Bad-Twin")
    faults = site.replica.faults
    with serve(Corpus([named("Inside")])) as other:
        for fault, slug in bad.items():
            faults[f"/chamber-music/{slug}/"] = fault.format(other=other.address)
        faults["/chamber-music/Bad-Twin/"] = "html"
        first = site.crawl(seeds, page_timeout_s=3.0)
        assert other.requests == []
    found = site.classes()
    told = {fault: found[slug] or PARSED for fault, slug in bad.items()}
    assert told == {fault: end for fault, (end, _) in ENDS.items()}
    further = {PARSED: len(good), "failed: placeholder": 1, "failed: robots": 1}
    assert first["counts"] == Counter(counted(end) for end, _ in ENDS.values()) + Counter(further)
    assert first["incomplete"]
    assert "stopped" not in first["details"]
    assert first["peak_mb"] < PEAK_MB
    every_stored_page_is_whole(site.data)
    works = site.replica.corpus.works
    damage_changes_no_value(
        site.data, [works[bad[name]] for name in ENDS if ENDS[name][0] == PARSED]
    )
    faults.clear()
    before = len(site.replica.requests)
    second = site.crawl(seeds)
    passing = {slug for fault, slug in bad.items() if ENDS[fault][1]} | {"Bad-Twin"}
    assert sorted(site.asked(before)) == sorted(passing)
    assert second["counts"][PARSED] == first["counts"][PARSED] + len(passing)
    assert not second["incomplete"]


def counted(end: str) -> str:
    """Under which name a summary counts a page of this class."""
    return end if end in (PARSED, "gone", "blocked") else f"failed: {end}"


def every_stored_page_is_whole(data: Path, least: int = len(ENDS)) -> None:
    with Ledger(data, read_only=True) as ledger:
        results = [entry.result for entry in ledger.entries("page").values()]
    stored = [load_page(data, result["sha256"]) for result in results if "sha256" in result]
    assert len(stored) >= least


def damage_changes_no_value(data: Path, shown: Sequence[Work]) -> None:
    """Scripts and a wrong charset leave every word of the work as it is."""
    crawled = {work.work_id: work for work in read_works(data / "works.jsonl")}
    for work in shown:
        read = crawled[work.work_id]
        for name in ("composer", "title", "movements", "facts", "notes", "related"):
            assert getattr(read, name) == getattr(work, name), (work.work_id, name)
        players = [item.performers for item in work.recordings]
        assert [item.performers for item in read.recordings] == players


@pytest.mark.parametrize(
    ("heading", "lost"),
    [
        ("<title>404 Not Found</title>", True),
        ("<title>Error 404</title>", True),
        ('<h1 class="big"> 404 </h1>', True),
        ("<h1>The page cannot be found</h1>", True),
        ("<title>Mozart: Andante and Allegretto in C major, K. 404</title>", False),
        ("<h1>String Quartet No. 404</h1>", False),
        ("<h1>The Lost Chord, newly found</h1>", False),
    ],
)
def test_a_work_may_be_number_404(heading: str, lost: bool) -> None:
    assert bool(LOST_HEADING.search(f"<html>{heading}</html>")) is lost


SEEDS = [f"Work-{number}" for number in range(6)]


def test_a_crawl_delay_in_robots_is_obeyed(site: Site) -> None:
    site.add(*SEEDS[:3])
    site.replica.faults["/robots.txt"] = "crawl-delay"
    assert site.crawl(SEEDS[:3])["counts"] == {PARSED: 3}
    assert min(site.pauses_s()) > 0.95


@pytest.mark.parametrize("fault", ["500", "503", "reset", "drip", "file:///robots.txt"])
def test_without_a_readable_robots_nothing_is_asked_for(site: Site, fault: str) -> None:
    site.add(*SEEDS)
    site.replica.faults["/robots.txt"] = fault
    summary = site.crawl(SEEDS, page_timeout_s=1)
    assert site.asked() == []
    assert PARSED not in summary["counts"]
    assert "robots.txt" in summary["details"]["stopped"]
    assert summary["incomplete"]
    site.replica.faults.clear()
    if fault == "503":
        assert site.crawl(SEEDS)["counts"] == {PARSED: len(SEEDS)}


@pytest.mark.parametrize(
    ("fault", "end"), [("403", "blocked"), ("451", "blocked"), ("429", "failed: rate_limited")]
)
def test_three_refusals_in_a_row_end_the_run(site: Site, fault: str, end: str) -> None:
    site.add(*SEEDS)
    for slug in SEEDS[1:]:
        site.replica.faults[f"/chamber-music/{slug}/"] = fault
    summary = site.crawl(SEEDS)
    assert summary["counts"] == {PARSED: 1, end: 3, "pending": 2}
    assert site.asked() == SEEDS[:4]
    assert fault in summary["details"]["stopped"]
    assert summary["incomplete"]
    if fault == "429":  # with Retry-After: 1
        assert min(site.pauses_s()[1:]) > 0.95


def test_retry_after_is_obeyed_before_the_page_is_asked_for_again(site: Site) -> None:
    site.add(*SEEDS[:2])
    site.replica.faults[f"/chamber-music/{SEEDS[0]}/"] = "503"
    summary = site.crawl(SEEDS[:2], retries=1)
    assert summary["counts"] == {PARSED: 1, "failed: server_error": 1}
    assert Counter(site.asked()) == {SEEDS[0]: 2, SEEDS[1]: 1}
    times = [item.time_s for item in site.replica.requests if SEEDS[0] in item.path]
    assert times[1] - times[0] > 0.95


def test_a_pause_of_a_day_ends_the_run(site: Site) -> None:
    site.add(*SEEDS)
    site.replica.faults[f"/chamber-music/{SEEDS[1]}/"] = "later"
    begun = time.monotonic()
    summary = site.crawl(SEEDS, retries=2)
    assert time.monotonic() - begun < 20
    assert summary["counts"] == {PARSED: 1, "failed: server_error": 1, "pending": 4}
    assert "86400" in summary["details"]["stopped"]
    assert summary["incomplete"]


def test_an_unknown_certificate_is_told_and_mended_by_a_bundle(tmp_path: Path) -> None:
    for folder in ("alone", "signed", "foreign"):
        (tmp_path / folder).mkdir()
    alone, foreign = self_signed(tmp_path / "alone"), self_signed(tmp_path / "foreign", "127.0.0.2")
    issuer, signed = issued(tmp_path / "signed")
    for secret, bundle, told in (
        (alone, alone, "tls"),
        (signed, issuer, "tls_chain_incomplete"),
    ):
        with serve(FIXTURE, tls=server_tls(secret)) as replica:
            site = Site(replica, secret.parent / "data")
            site.add(*SEEDS)
            refused = site.crawl(SEEDS)
            assert replica.requests == []
            assert set(refused["counts"]) <= {f"failed: {told}", "pending"}
            assert told in site.classes().values()
            assert refused["details"]["stopped"]
            assert site.crawl(SEEDS, ca_bundle=str(bundle))["counts"] == {PARSED: len(SEEDS)}
    with serve(FIXTURE, tls=server_tls(foreign)) as replica:
        site = Site(replica, tmp_path / "foreign" / "data")
        refused = site.crawl(SEEDS, ca_bundle=str(foreign))
        assert replica.requests == []
        assert set(refused["counts"]) <= {"failed: tls", "pending"}
        assert "tls" in site.classes().values()


def test_a_bad_day_takes_no_work_away(site: Site) -> None:
    site.add(*SEEDS)
    site.crawl(SEEDS)
    bad = ("html", "html", "empty", "elsewhere", "headers", "404")
    site.replica.faults.update(
        {f"/chamber-music/{slug}/": fault for slug, fault in zip(SEEDS, bad, strict=True)}
    )
    day = site.crawl(SEEDS, refresh_after_days=0)
    assert day["counts"] == {PARSED: 5, "gone": 1}
    assert (day["details"]["not refreshed"], day["incomplete"]) == (5, True)
    assert [work.work_id for work in read_works(site.data / "works.jsonl")] == SEEDS[:5]
    site.replica.faults.clear()
    after = site.crawl(SEEDS, refresh_after_days=0)
    assert (after["counts"], after["incomplete"]) == ({PARSED: 6}, False)
    assert "not refreshed" not in after["details"]


def test_a_page_at_two_addresses_is_one_work(site: Site) -> None:
    same = [slug for slug in SEEDS if markup_of(slug) == markup_of(SEEDS[0])][:2]
    site.replica.corpus.works.update(dict.fromkeys(same, named("Same")))
    for _ in range(2):
        found = site.crawl(same)
        assert (found["counts"], found["incomplete"]) == ({PARSED: 2}, False)
        assert found["details"]["other addresses of a work"] == 1
        assert [work.work_id for work in read_works(site.data / "works.jsonl")] == same[:1]


def test_another_site_is_not_mixed_in(site: Site) -> None:
    site.add(SEEDS[0])
    site.crawl(SEEDS[:1])
    with pytest.raises(UserError, match="pages of another site") as told:
        crawl(site.data, CrawlConfig(site="http://127.0.0.1:9", seeds=("Work-9",)))
    assert "\n" not in str(told.value)


def test_a_refresh_keeps_what_has_not_changed(site: Site) -> None:
    site.add(*SEEDS)
    site.crawl(SEEDS)
    works = (site.data / "works.jsonl").read_bytes()
    before = len(site.replica.requests)
    next((site.data / "pages").rglob("*.gz")).write_bytes(b"not what it was")
    same = site.crawl(SEEDS, refresh_after_days=0)
    answers = [item.status for item in site.replica.requests[before:] if "Work" in item.path]
    assert Counter(answers) == {304: len(SEEDS) - 1, 200: 1}  # no 304 confirms a damaged body
    every_stored_page_is_whole(site.data, least=len(SEEDS))
    assert same["counts"] == {PARSED: len(SEEDS)}
    assert (site.data / "works.jsonl").read_bytes() == works
    changed = dataclasses.replace(named(SEEDS[2]), title="Quartet, changed")
    site.replica.corpus.works[SEEDS[2]] = changed
    before = len(site.replica.requests)
    site.crawl(SEEDS, refresh_after_days=0)
    answers = [item.status for item in site.replica.requests[before:] if "Work" in item.path]
    assert Counter(answers) == {304: len(SEEDS) - 1, 200: 1}
    titles = {work.work_id: work.title for work in read_works(site.data / "works.jsonl")}
    assert titles[SEEDS[2]] == "Quartet, changed"
    assert titles[SEEDS[1]] == named(SEEDS[1]).title
    before = len(site.replica.requests)
    assert site.crawl(SEEDS, refresh_after_days=1)["work_done"] == 0
    assert len(site.replica.requests) == before


@pytest.mark.parametrize(
    "seed",
    ["../etc/passwd", "/chamber-music/../../etc/", "/chamber-music/..%2F..%2Fetc/", "..", "%2e%2e"],
)
def test_a_slug_that_climbs_is_refused_before_anything_is_touched(
    tmp_path: Path, seed: str
) -> None:
    config = CrawlConfig(site="http://127.0.0.1:9", seeds=("Good-Work", seed))
    with pytest.raises(UserError, match="no page of the site"):
        crawl(tmp_path / "data", config)
    assert not (tmp_path / "data").exists()
