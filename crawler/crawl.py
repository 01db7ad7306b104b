"""The stage: pages -> works.jsonl, articles.jsonl and the page store."""

import logging
import math
import signal
import threading
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from crawler.errors import UserError
from crawler.files import sweep_temporary
from crawler.items import Article, Work, work_from_dict, write_articles, write_works
from crawler.ledger import LEDGER_NAME, Entry, Ledger, State, damaged
from crawler.pagestore import page_path
from crawler.pipelines import STAGE, TRANSIENT, Desk
from crawler.summary import Progress, Summary, silent
from crawler.urls import canonical, is_loopback, page_key

logger = logging.getLogger(__name__)

MIN_DELAY_S = 5.0  # between two requests to a site that is not on this machine


@dataclass(frozen=True, slots=True, kw_only=True)
class CrawlConfig:
    """Which pages of which site, and how slowly."""

    site: str = "https://www.earsense.org"
    seeds: tuple[str, ...] = ()  # slugs or addresses
    seeds_file: Path | None = None  # one a line; # begins a comment
    delay_s: float = MIN_DELAY_S
    timeout_s: float = 60.0  # of one request, its body included
    retries: int = 2  # within one run, of a page that failed for a passing reason
    max_pages: int | None = None  # asked for in one run; None = all
    contact: str | None = None  # address or page that the user agent names
    user_agent: str = "earscribe"
    video_url: str = "https://www.youtube.com/watch?v={id}"


def crawl(data: Path, config: CrawlConfig, progress: Progress = silent) -> Summary:
    """Fetch the wanted pages that the folder does not have and write works.jsonl.

    A page that failed for a passing reason is asked for again on the next run, a page that is
    gone is not. Scrapy's reactor runs once a process, and only when something is missing.
    UserError for a setting that is not allowed.
    """
    _check(config)
    wanted = wanted_pages(config)
    with Ledger(data) as ledger:
        sweep_temporary(data)
        missing = [url for key, url in wanted.items() if is_missing(data, ledger.entry(STAGE, key))]
        before = len(wanted) - len(missing)
        desk = Desk(
            data,
            ledger,
            video_url=config.video_url,
            progress=lambda taken: progress(before + taken, len(wanted)),
        )
        asked = missing[: config.max_pages]
        stopped = _run(desk, config, asked) if asked else None
        entries = ledger.entries(STAGE)
        write_artifacts(data, entries)
    return _summary(data, [entries.get(key) for key in wanted], desk.taken, stopped)


def _check(config: CrawlConfig) -> None:
    if not is_site(config.site):
        raise UserError(f"site {config.site!r} is no site: give one like https://www.earsense.org")
    if "{id}" not in config.video_url:
        raise UserError(f"video_url {config.video_url!r} has no {{id}}: say where the id goes")
    for name in ("delay_s", "timeout_s", "retries"):
        if not 0 <= getattr(config, name) < math.inf:
            raise UserError(f"crawl.{name} {getattr(config, name)} is not a number from 0 on")
    if config.max_pages is not None and config.max_pages < 1:
        raise UserError(f"crawl.max_pages {config.max_pages} is below 1")
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


def wanted_pages(config: CrawlConfig) -> dict[str, str]:
    """Key in the ledger -> canonical address of every seed, each once, in their order."""
    seeds = [*config.seeds, *_lines(config.seeds_file)]
    if not seeds:
        raise UserError(
            "no pages to crawl: give a slug or address with --address, or a file with --seeds"
        )
    return {page_key(seed): canonical(seed, config.site) for seed in seeds}


def _lines(path: Path | None) -> list[str]:
    if path is None:
        return []
    try:
        lines = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"cannot read the seeds file {path}: {error}") from error
    seeds = (line.strip() for line in lines)
    return [seed for seed in seeds if seed and not seed.startswith("#")]


def is_missing(data: Path, entry: Entry | None) -> bool:
    """Whether a page has to be asked for (again): it has no end yet, or its body is gone."""
    if entry is None or entry.state is State.PENDING:
        return True
    if "sha256" in entry.result and not page_path(data, entry.result["sha256"]).is_file():
        return True
    return entry.state is State.FAILED and entry.error_class in TRANSIENT


def _run(desk: Desk, config: CrawlConfig, pages: Sequence[str]) -> str | None:
    """Let the spider fetch `pages`; returns why it ended early, None when it did not."""
    # Scrapy costs a second and is not wanted when nothing is missing.
    from scrapy.crawler import AsyncCrawlerProcess

    from crawler import settings
    from crawler.spiders.earsense import EarsenseSpider

    polite = settings.settings(
        config.site,
        delay_s=config.delay_s,
        timeout_s=config.timeout_s,
        retries=config.retries,
        user_agent=f"{config.user_agent} (+{config.contact or 'local'})",
        throttle=not is_loopback(config.site),
    )
    with settings.quiet():
        process = AsyncCrawlerProcess(polite)
    crawler = process.create_crawler(EarsenseSpider)
    with _signals_restored():
        task = process.crawl(crawler, pages=pages, desk=desk)
        process.start()
    if task.done() and not task.cancelled():
        task.result()
    if desk.bugs:
        raise desk.bugs[0]
    reason = crawler.stats.get_value("finish_reason") if crawler.stats else None
    return None if reason == "finished" else str(reason or "interrupted")


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


def write_artifacts(data: Path, entries: Mapping[str, Entry]) -> None:
    """Write works.jsonl and articles.jsonl from the ledger: same entries, same bytes."""
    found = [_content(data, entry) for entry in entries.values() if entry.state is State.OK]
    write_works(data / "works.jsonl", [one for one in found if isinstance(one, Work)])
    write_articles(data / "articles.jsonl", [one for one in found if isinstance(one, Article)])


def _content(data: Path, entry: Entry) -> Work | Article:
    try:
        if entry.result["kind"] == "work":
            return work_from_dict(entry.result["work"])
        return Article(**entry.result["article"])
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise damaged(data / LEDGER_NAME, STAGE, entry.item, repr(error)) from error


def _outcome(entry: Entry | None) -> str:
    if entry is None:
        return "pending"
    if entry.state is State.OK:
        return "ok: no_prose" if entry.result.get("no_prose") else "ok"
    return f"failed: {entry.error_class}"


def _summary(data: Path, ends: Sequence[Entry | None], taken: int, stopped: str | None) -> Summary:
    counts = Counter(_outcome(entry) for entry in ends)
    return Summary(
        stage="crawl",
        total=len(ends),
        counts=dict(sorted(counts.items())),
        artifact=data / "works.jsonl",
        details={"stopped": stopped} if stopped else {},
        work_done=taken,
        incomplete=any(is_missing(data, entry) for entry in ends),
    )
