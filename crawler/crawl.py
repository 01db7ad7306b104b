"""The stage: pages -> works.jsonl, articles.jsonl, crawl-stats.json and the page store."""

import asyncio
import json
import logging
import math
import re
import signal
import threading
import time
from collections import deque
from collections.abc import Collection, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from crawler.accounting import Account, write_stats
from crawler.artifacts import Artifacts
from crawler.errors import UserError
from crawler.files import sweep_temporary
from crawler.holdings import (
    check_entry,
    is_missing,
    known_bodies,
    missing_pages,
    reached,
    refuse_odd_files,
    stored_page,
)
from crawler.ledger import LEDGER_NAME, Entry, Ledger, State
from crawler.pages import DEFAULT, VIDEO_URL, Selectors, read_selectors
from crawler.pagestore import gather_pages
from crawler.pipelines import STAGE, Desk, Fetched, Outcome
from crawler.reader import Reader
from crawler.summary import Progress, Summary, silent
from crawler.urls import canonical, is_loopback, page_key, same_site

logger = logging.getLogger(__name__)

MIN_DELAY_S = 5.0  # between two requests to a site that is not on this machine
UNHURRIED_S = 1.0  # with this delay or more there is time to flush every page to the disk
DAY_S = 86_400.0
DISCOVERED = 2_000  # pages beyond the seeds that a run with `discover` asks for, without max_pages
SEEDS = Path(__file__).parent.parent / "data" / "seeds" / "earsense_works.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlConfig:
    """Which pages of which site, and how slowly."""

    site: str = "https://www.earsense.org"
    seeds: tuple[str, ...] = ()  # slugs or addresses; with no seeds_file either: the known works
    seeds_file: Path | None = None  # one a line; # begins a comment
    discover: bool = False  # also the works and articles that visited pages link to
    max_pages: int | None = None  # asked for in one run; None = all seeds, and DISCOVERED more
    refresh_after_days: float | None = None  # ask again for older pages; None = never
    delay_s: float = MIN_DELAY_S
    page_timeout_s: float = 60.0  # of one request, its body included
    max_page_bytes: int = 8 * 2**20  # of a body, also when decompressed
    retries: int = 2  # within one run, of a page that failed for a passing reason
    contact: str | None = None  # address or page that the user agent names
    user_agent: str = "earscribe"
    ca_bundle: Path | None = None  # PEM; None = the system's certificates
    selectors: Path | None = None  # None = crawler/selectors.toml
    video_url: str = VIDEO_URL


def crawl(data: Path, config: CrawlConfig, progress: Progress = silent) -> Summary:
    """Fetch the wanted pages that the folder does not have and write works.jsonl.

    A page that failed for a passing reason is asked for again on the next run, any other page
    only when it is older than `refresh_after_days`. Scrapy's reactor runs once a process, and
    only when something is missing. UserError for a setting that is not allowed.
    """
    check(config)
    seeds, selectors = wanted_pages(config), chosen_selectors(config)
    _check_folder(data)
    synced = config.delay_s >= UNHURRIED_S
    reader = Reader(data, config.video_url, selectors, config.page_timeout_s, synced=synced)
    with Ledger(data) as ledger, closing(reader):
        sweep_temporary(data)
        gather_pages(data)
        bodies = known_bodies(data, ledger, config.site)
        wanted = reached(data, ledger, seeds, config.site) if config.discover else seeds
        days = config.refresh_after_days
        oldest_s = 0.0 if days is None else time.time() - days * DAY_S
        missing = missing_pages(data, ledger, wanted, oldest_s)
        before = len(wanted) - len(missing)
        desk = Desk(
            data,
            ledger,
            judge=reader.judge,
            site=config.site if config.discover else None,
            max_pages=config.max_pages or sum(key in seeds for key in missing) + DISCOVERED,
            progress=lambda taken: progress(before + taken, len(desk.known)),
        )
        desk.known.update(wanted)
        desk.queue.extend(wanted[key] for key in missing)
        desk.bodies.update(bodies)
        stopped = None
        if missing:
            reader.start()
            stopped = _run(desk, config)
        full = not config.seeds and config.seeds_file is None
        summary = _finish(data, ledger, desk.known, oldest_s, taken=desk.taken, full=full)
        if desk.bugs:
            raise desk.bugs[0]
        said = {"stopped": stopped} if stopped else {}
        if full:
            said["seeds"] = f"the {len(seeds)} works of {SEEDS.name}"
        return replace(summary, details={**summary.details, **said})


def _check_folder(data: Path) -> None:
    """UserError when works.jsonl holds works that no crawl brought: it would be written over."""
    refuse_odd_files(data)
    try:
        with (data / "works.jsonl").open(encoding="utf-8") as lines:
            first = json.loads(next(islice(lines, 1, None), "{}"))  # the others are of its kind
    except (OSError, ValueError):  # none, or damaged: written anew
        return
    if isinstance(first, dict) and first.get("page_sha256", "") is None:
        raise UserError(
            f"{data} holds imported works, such as {first.get('work_id')}: "
            "give another folder with --data"
        )


def reparse(data: Path, config: CrawlConfig, progress: Progress = silent) -> Summary:
    """Read every stored page again, with the parser and the selectors as they are now.

    No request is sent. The summary counts all pages that the folder knows. A page that was read
    keeps what it gave when the parser now fails on it. UserError when nothing was crawled.
    """
    _check_folder(data)
    nothing = f"{data} has no stored pages: crawl first, without --reparse"
    if not (data / LEDGER_NAME).is_file():
        raise UserError(nothing)
    reader = Reader(data, config.video_url, chosen_selectors(config), config.page_timeout_s)
    with Ledger(data) as ledger, closing(reader), asyncio.Runner() as runner:
        sweep_temporary(data)
        gather_pages(data)
        keys = []
        for known in ledger.walk(STAGE):
            check_entry(data, known)
            keys.append(known.item)
        if not keys:
            raise UserError(nothing)
        changed = kept = 0
        for done, key in enumerate(keys, start=1):
            entry = ledger.entry(STAGE, key)
            if entry and entry.error_class != "placeholder" and (page := stored_page(data, entry)):
                outcome = runner.run(reader.judge(page))
                if entry.state is State.OK and outcome.error_class in ("timeout", "parser"):
                    logger.warning("%s: %s, so what it gave is kept", entry.item, outcome.message)
                    kept += 1
                else:
                    changed += _read_again(ledger, entry, outcome)
            progress(done, len(keys))
        known_keys = set(keys)
        full = set(wanted_pages(replace(config, seeds=(), seeds_file=None))) <= known_keys
        summary = _finish(data, ledger, known_keys, 0.0, taken=changed, full=full)
        said = {"not read again": kept} if kept else {}
        return replace(summary, details={**summary.details, **said})


def _read_again(ledger: Ledger, entry: Entry, outcome: Outcome) -> bool:
    """Commit what a stored page is read as; returns whether that is not what it was."""
    followed = {name: value for name, value in entry.result.items() if name == "links"}
    result = {**json.loads(json.dumps(outcome.result)), **followed}
    now = (outcome.state, outcome.error_class, outcome.message, result)
    if now == (entry.state, entry.error_class, entry.message, entry.result):
        return False
    ledger.record(
        STAGE,
        entry.item,
        outcome.state,
        error_class=outcome.error_class,
        message=outcome.message,
        result=result,
    )
    return True


def fetch_page(url: str, config: CrawlConfig) -> Fetched:
    """Ask for one page as `crawl` would, and keep nothing; `url` may name another site.

    Once a process, like a crawl. A failure is told in the result: `crawler.pipelines.failure`.
    """
    if "://" in url and not same_site(url, config.site):
        split = urlsplit(url)
        config = replace(config, site=f"{split.scheme}://{split.netloc}")
    check(config)
    desk = _OnePage(canonical(url, config.site))
    stopped = _run(desk, config)
    if desk.fetched is None:
        raise UserError(f"{url} was not fetched: {stopped}")
    return desk.fetched


class _OnePage:
    """A desk for one page that is kept nowhere."""

    def __init__(self, url: str) -> None:
        self._queue = deque([(url, dict[str, str]())])
        self.fetched: Fetched | None = None
        self.queue = self._queue
        self.max_pages = 1
        self.bugs: list[Exception] = []

    def next(self) -> tuple[str, Mapping[str, str]] | None:
        """The page, once."""
        return self._queue.popleft() if self._queue else None

    async def judge(self, fetched: Fetched) -> Fetched:
        """No verdict: the page is wanted as it is."""
        return fetched

    def take(self, fetched: Fetched, _: Fetched) -> None:
        """Keep what came."""
        self.fetched = fetched


def check(config: CrawlConfig) -> None:
    """UserError for a setting that is not allowed, on this site or at all."""
    if not is_site(config.site):
        raise UserError(f"site {config.site!r} is no site: give one like https://www.earsense.org")
    if "{id}" not in config.video_url:
        raise UserError(f"video_url {config.video_url!r} has no {{id}}: say where the id goes")
    for name in ("page_timeout_s", "max_page_bytes"):
        if not 0 < getattr(config, name) < math.inf:
            raise UserError(f"crawl.{name} {getattr(config, name)} is not a number above 0")
    for name in ("delay_s", "retries"):
        if not 0 <= getattr(config, name) < math.inf:
            raise UserError(f"crawl.{name} {getattr(config, name)} is not a number from 0 on")
    if config.refresh_after_days is not None and not 0 <= config.refresh_after_days < math.inf:
        raise UserError(
            f"crawl.refresh_after_days {config.refresh_after_days} is not a number from 0 on"
        )
    if config.max_pages is not None and config.max_pages < 1:
        raise UserError(f"crawl.max_pages {config.max_pages} is below 1")
    for name in ("contact", "user_agent"):
        text = getattr(config, name) or ""
        if not (text.isascii() and text.isprintable()):
            raise UserError(f"crawl.{name} {text!r} cannot be sent: give ASCII letters and signs")
    if is_loopback(config.site):
        return
    if not config.contact:
        raise UserError(
            f"{config.site} is not on this machine: give --contact, an address or page by which "
            "its owner can reach you"
        )
    if config.delay_s < MIN_DELAY_S:
        raise UserError(
            f"crawl.delay_s {config.delay_s} is below {MIN_DELAY_S:g}, the least for {config.site}"
        )


def is_site(address: str) -> bool:
    """Whether an address is a scheme and a host, perhaps with a port, and no more."""
    try:
        split = urlsplit(address)
        place = split.scheme in ("http", "https") and split.hostname and split.port != 0
        return bool(place) and not (split.path.strip("/") or split.query or split.fragment)
    except ValueError:  # no port of this number, no host in these brackets
        return False


def chosen_selectors(config: CrawlConfig) -> Selectors:
    """The selectors of the configuration's file, else those that come with the parser."""
    return read_selectors(config.selectors) if config.selectors else DEFAULT


def wanted_pages(config: CrawlConfig) -> dict[str, str]:
    """Key in the ledger -> canonical address of every seed, each once, in their order."""
    wanted = {page_key(seed): canonical(seed, config.site) for seed in config.seeds}
    if config.seeds_file or not wanted:
        for place, seed in _lines(config.seeds_file or SEEDS):
            try:
                wanted.setdefault(page_key(seed), canonical(seed, config.site))
            except UserError as error:
                raise UserError(f"{place}: {error}") from error
    if not wanted:
        raise UserError(
            f"the seeds file {config.seeds_file} names no page: a slug or address a line"
        )
    return wanted


def _lines(path: Path) -> list[tuple[str, str]]:
    """(file and line, seed) of every line with a seed."""
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the seeds file {path}: {error}") from error
    seeds = [re.split(r"(?:^|\s)#", line)[0].strip() for line in lines]
    return [(f"{path} line {number}", seed) for number, seed in enumerate(seeds, 1) if seed]


def _run(desk: Desk | _OnePage, config: CrawlConfig) -> str | None:
    """Let the spider fetch what the desk names; returns why it ended early, None if it did not."""
    # Scrapy costs a second and is not wanted when nothing is missing.
    from scrapy.crawler import AsyncCrawlerProcess

    from crawler import settings
    from crawler.connection import read_bundle
    from crawler.spiders.earsense import EarsenseSpider

    if config.ca_bundle:
        read_bundle(config.ca_bundle)
    polite = settings.settings(
        config.site,
        delay_s=config.delay_s,
        page_timeout_s=config.page_timeout_s,
        retries=config.retries,
        max_page_bytes=config.max_page_bytes,
        agent=config.user_agent,
        contact=config.contact or "local",
        ca_bundle=config.ca_bundle,
        throttle=not is_loopback(config.site),
    )

    class Process(AsyncCrawlerProcess):
        """Scrapy's process, which says that a first Ctrl-C was heard."""

        @staticmethod
        def _log_shutdown(signum: int) -> None:
            logger.warning("stopping after the page in hand; Ctrl-C again to stop now")

    with settings.quiet():
        process = Process(polite)
    crawler = process.create_crawler(EarsenseSpider)
    with _signals_restored():
        task = process.crawl(crawler, desk=desk, site=config.site)
        process.start()
    if task.done() and not task.cancelled():
        task.result()
    reason = crawler.stats.get_value("finish_reason") if crawler.stats else None
    if reason == "finished":
        return f"max_pages {desk.max_pages} reached" if desk.queue else None
    return str(reason or "interrupted")


@contextmanager
def _signals_restored() -> Iterator[None]:
    """Give Ctrl-C and SIGTERM back to the caller: Scrapy keeps them after its end."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _finish(
    data: Path, ledger: Ledger, wanted: Collection[str], oldest_s: float, *, taken: int, full: bool
) -> Summary:
    """Write works, articles and crawl-stats.json; count how the `wanted` pages ended.

    Incomplete where one of them has to be asked for (again).
    """
    result, done = Account(len(wanted)), 0
    with closing(Artifacts(data)) as artifacts:
        for entry in ledger.walk(STAGE):
            artifacts.add(entry)
            if entry.item in wanted:
                result.add(entry)
                done += not is_missing(data, entry, oldest_s)
        said = artifacts.write()
    details: dict[str, Any] = {"coverage": result.coverage()}
    if full and "pending" not in result.counts():
        details["findings"] = result.findings()
    write_stats(data, result, details)
    return Summary(
        stage="crawl",
        total=len(wanted),
        counts=result.counts(),
        artifact=data / "works.jsonl",
        details={**details, **said},
        work_done=taken,
        incomplete=done < len(wanted),
    )
