"""How the crawler behaves towards the site: robots, delay, retries, limits, and no noise."""

import asyncio
import logging
import time
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any, Self
from urllib.parse import urlsplit

from scrapy import Spider
from scrapy.crawler import Crawler
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import DownloadCancelledError, DownloadTimeoutError, IgnoreRequest
from scrapy.extensions.throttle import AutoThrottle
from scrapy.http import Request, Response
from scrapy.robotstxt import RobotParser

from crawler.connection import Refused, is_tls, tls_class
from crawler.pipelines import TEMPORARY, TRANSIENT
from crawler.urls import refusal

MAX_PAUSE_S = 300.0  # a site that asks for more is asked again by another run
JITTER = 0.2  # share of the delay; between two requests lies the wanted delay or up to half more
RETRY_STATUSES = (408, 500, 502, 503, 504, 522, 524)  # not 429: the next page waits, not this one
RETRY_EXCEPTIONS = (  # not of a time-out: a page that drips costs its limit once
    "scrapy.exceptions.CannotResolveHostError",
    "scrapy.exceptions.DownloadConnectionRefusedError",
    "scrapy.exceptions.DownloadFailedError",
    "scrapy.exceptions.ResponseDataLossError",
)
# Only these: among Scrapy's own are consoles that listen on a port and run what they are sent.
EXTENSIONS = {
    "scrapy.extensions.corestats.CoreStats": 0,
    "scrapy.extensions.throttle.AutoThrottle": 0,
}
HANDLERS = {"http": "PlainHandler", "https": "VerifyingHandler"}
# Depth, length and place of an address are the desk's and the guard's to know.
SPIDER_MIDDLEWARES = {"scrapy.spidermiddlewares.referer.RefererMiddleware": 700}
SLOT = "site"  # of every request: a delay is kept between www. and the bare host too


class RobotsUnread(Refused):
    """Nothing may be asked for, because the site does not say what may."""


class SiteGuard(RobotsTxtMiddleware):
    """Obey robots.txt, refuse everything while it cannot be read, and never leave the site."""

    def __init__(self, crawler: Crawler) -> None:
        super().__init__(crawler)
        self._why: dict[str, tuple[str, str]] = {}  # host and port -> why there is no robots.txt

    async def process_request(self, request: Request, spider: Spider | None = None) -> None:
        """Called by Scrapy with every request, also of a redirect."""
        if why := refusal(request.url, self.crawler.settings["EARSCRIBE_SITE"]):
            raise Refused("redirect", f"the site redirects to {request.url[:200]}: {why}")
        request.meta["download_slot"] = SLOT
        await super().process_request(request)

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        """RFC 9309: a robots.txt that cannot be read disallows all."""
        if rp is None:
            error_class, message = self._why[urlsplit(request.url).netloc]
            transient = error_class if error_class in TRANSIENT else "network"
            told = f"robots.txt cannot be read, so no page is asked for ({message})"
            raise RobotsUnread(transient, told)
        self._slow_down(rp.crawl_delay(self.crawler.settings["ROBOTSTXT_USER_AGENT"]) or 0.0)
        try:
            super().process_request_2(rp, request)
        except IgnoreRequest as error:
            raise Refused("robots", "robots.txt forbids this page") from error

    def _slow_down(self, delay_s: float) -> None:
        """Obey a Crawl-delay that is longer than ours."""
        if delay_s > MAX_PAUSE_S:
            told = f"robots.txt asks for {delay_s:g} s between two pages, more than we wait"
            raise RobotsUnread("rate_limited", f"{told} ({MAX_PAUSE_S:g})")
        engine = self.crawler.engine
        assert engine, "a request is made by the engine"
        least_s = spaced(delay_s)
        engine.downloader._delay = max(engine.downloader._delay, least_s)
        for slot in engine.downloader.slots.values():
            slot.delay = max(slot.delay, least_s)
        if throttle := self.crawler.get_extension(AutoThrottle):
            throttle.mindelay = max(throttle.mindelay, least_s)
            throttle.maxdelay = max(throttle.maxdelay, least_s)

    async def _parse_robots(self, response: Response, netloc: str, request: Request) -> None:
        if response.status == 429 or response.status >= 500:
            error_class = "rate_limited" if response.status == 429 else "server_error"
            raise Refused(error_class, f"the site answered {response.status}")
        if 300 <= response.status < 400:
            raise Refused("redirect", f"the site redirects it ({response.status})")
        await super()._parse_robots(response, netloc, request)

    def _robots_error(self, exc: Exception, netloc: str) -> None:
        self._why[netloc] = failure_class(exc)
        super()._robots_error(exc, netloc)


class Patience:
    """Wait as long as the site asks, and tell a refused certificate from other failures."""

    def __init__(self, crawler: Crawler) -> None:
        self.crawler = crawler

    @classmethod
    def from_crawler(cls, crawler: Crawler) -> Self:
        """Called by Scrapy."""
        return cls(crawler)

    async def process_response(self, request: Request, response: Response) -> Response:
        """Called by Scrapy with every response, before it is asked for again."""
        wait_s = retry_after_s(response)
        if wait_s > MAX_PAUSE_S:
            request.meta["dont_retry"] = True
            request.meta["stop"] = (
                f"the site answers {response.status} and asks for a pause of {wait_s:.0f} s, "
                f"more than we wait ({MAX_PAUSE_S:g})"
            )
            return response
        end = time.monotonic() + wait_s
        while self.crawler.crawling and (left_s := end - time.monotonic()) > 0:
            await asyncio.sleep(min(left_s, 0.2))  # in pieces: Ctrl-C ends the pause
        return response

    def process_exception(self, request: Request, exception: Exception) -> None:
        """Called by Scrapy with every failure, before it is tried again."""
        if is_tls(exception):
            bundle = self.crawler.settings["EARSCRIBE_CA_BUNDLE"]
            raise Refused(*tls_class(request.url, bundle, exception)) from exception


def retry_after_s(response: Response) -> float:
    """Seconds that a 429 or 503 asks to wait, 0 when it says nothing that can be read."""
    text = (response.headers.get("Retry-After") or b"").decode("latin-1").strip()
    if response.status not in (429, 503) or not text:
        return 0.0
    if text.isascii() and text.isdigit():
        return float(text[:12])
    try:
        return max(0.0, parsedate_to_datetime(text).timestamp() - time.time())
    except (ValueError, OverflowError):
        return 0.0


def failure_class(error: BaseException) -> tuple[str, str]:
    """Error class and message of a request without a response."""
    if isinstance(error, Refused):
        return error.error_class, str(error)
    for inner in getattr(error.__cause__, "reasons", []):  # Twisted's list of failures
        if isinstance(inner.value, Refused):
            return failure_class(inner.value)
    if isinstance(error, DownloadCancelledError):
        return "too_large", "the page is larger than crawl.max_page_bytes"
    if isinstance(error, IgnoreRequest):
        return "redirect", f"{error}"
    if isinstance(error, DownloadTimeoutError):
        return "timeout", "the page took longer than crawl.page_timeout_s"
    return "network", f"{type(error).__name__}: {error}"


def is_temporary(request: Request) -> bool:
    """Whether a request came from a redirect that the site does not call permanent."""
    return bool({*TEMPORARY}.intersection(request.meta.get("redirect_reasons", [])))


def spaced(delay_s: float) -> float:
    """The mean delay at which two requests are never closer than `delay_s`."""
    return delay_s / (1 - JITTER)


def settings(
    site: str,
    *,
    delay_s: float,
    page_timeout_s: float,
    retries: int,
    max_page_bytes: int,
    agent: str,
    contact: str,
    ca_bundle: Path | None,
    throttle: bool,
) -> dict[str, Any]:
    """Scrapy's settings of a polite crawl: one connection, one request at a time."""
    handlers = {name: f"crawler.connection.{kind}" for name, kind in HANDLERS.items()}
    return {
        "EARSCRIBE_SITE": site,
        "EARSCRIBE_CA_BUNDLE": str(ca_bundle) if ca_bundle else None,
        "USER_AGENT": f"{agent} (+{contact})",
        "ROBOTSTXT_USER_AGENT": agent,
        "ROBOTSTXT_OBEY": True,
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
            "scrapy.downloadermiddlewares.redirect.MetaRefreshMiddleware": None,
            "scrapy.downloadermiddlewares.cookies.CookiesMiddleware": None,
            "scrapy.downloadermiddlewares.httpauth.HttpAuthMiddleware": None,
            "scrapy.downloadermiddlewares.stats.DownloaderStats": None,
            "scrapy.downloadermiddlewares.httpcompression.HttpCompressionMiddleware": None,
            "crawler.connection.Unpacking": 590,
            "crawler.settings.SiteGuard": 100,
            "crawler.settings.Patience": 840,  # next to the site: before anything is retried
        },
        "ITEM_PIPELINES": {"crawler.pipelines.CommitPipeline": 100},
        "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")) | handlers,
        "EXTENSIONS_BASE": EXTENSIONS,
        "SPIDER_MIDDLEWARES_BASE": SPIDER_MIDDLEWARES,
        "WARN_ON_GENERATOR_RETURN_VALUE": False,  # it reads the spider's source for every page
        "CONCURRENT_REQUESTS": 1,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "CONCURRENT_ITEMS": 1,
        "DOWNLOAD_DELAY": spaced(delay_s),
        "DOWNLOAD_DELAY_JITTER": JITTER,
        "AUTOTHROTTLE_ENABLED": throttle,
        "AUTOTHROTTLE_START_DELAY": spaced(delay_s),
        "AUTOTHROTTLE_MAX_DELAY": max(60.0, spaced(delay_s)),
        "DOWNLOAD_TIMEOUT": page_timeout_s,
        "DOWNLOAD_MAXSIZE": max_page_bytes,
        "DOWNLOAD_WARNSIZE": 0,
        "RETRY_TIMES": retries,
        "RETRY_HTTP_CODES": RETRY_STATUSES,
        "RETRY_EXCEPTIONS": RETRY_EXCEPTIONS,
        "RETRY_GIVE_UP_LOG_LEVEL": "DEBUG",  # the ledger says it
        "REDIRECT_MAX_TIMES": 5,
        "HTTPERROR_ALLOW_ALL": True,
        "LOG_ENABLED": False,
        "LOG_INSTALL_ROOT_HANDLER": False,
    }


@contextmanager
def quiet() -> Iterator[None]:
    """While Scrapy's process is made: log nothing of it, and from then on only its warnings.

    Making it turns its log on; a page that failed is told by the ledger.
    """
    before = logging.root.manager.disable
    logging.disable(logging.INFO)
    try:
        yield
    finally:
        logging.disable(before)
        logging.getLogger("scrapy").setLevel(logging.WARNING)
        for name in ("robotstxt", "httpcompression"):
            logging.getLogger(f"scrapy.downloadermiddlewares.{name}").setLevel(logging.CRITICAL)
