"""How the crawler behaves towards the site: robots, delay, retries, limits, and no noise."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from scrapy import Spider
from scrapy.downloadermiddlewares.robotstxt import RobotsTxtMiddleware
from scrapy.exceptions import IgnoreRequest
from scrapy.http import Request, Response
from scrapy.robotstxt import RobotParser

from crawler.urls import same_site

MAX_PAGE_BYTES = 8 * 2**20
RETRY_STATUSES = (408, 500, 502, 503, 504, 522, 524)  # not 429: the run ends there
# Only these: among Scrapy's own are consoles that listen on a port and run what they are sent.
EXTENSIONS = {
    "scrapy.extensions.corestats.CoreStats": 0,
    "scrapy.extensions.throttle.AutoThrottle": 0,
}


class Refused(IgnoreRequest):
    """A request that is not sent; its class and message end in the ledger."""

    def __init__(self, error_class: str, message: str) -> None:
        super().__init__(message)
        self.error_class = error_class


class SiteGuard(RobotsTxtMiddleware):
    """Obey robots.txt, refuse everything while it cannot be read, and never leave the site."""

    async def process_request(self, request: Request, spider: Spider | None = None) -> None:
        """Called by Scrapy with every request, also of a redirect."""
        if not same_site(request.url, self.crawler.settings["EARSCRIBE_SITE"]):
            raise Refused("redirect", f"the site redirects to {request.url[:200]}")
        await super().process_request(request)

    def process_request_2(self, rp: RobotParser | None, request: Request) -> None:
        """RFC 9309: a robots.txt that cannot be read disallows all."""
        if rp is None:
            raise Refused("network", "robots.txt cannot be read, so no page is asked for")
        try:
            super().process_request_2(rp, request)
        except IgnoreRequest as error:
            raise Refused("robots", "robots.txt forbids this page") from error

    async def _parse_robots(self, response: Response, *rest: Any) -> None:
        if response.status >= 500:
            raise IgnoreRequest(f"robots.txt: the site answered {response.status}")
        await super()._parse_robots(response, *rest)


def settings(
    site: str, *, delay_s: float, timeout_s: float, retries: int, user_agent: str, throttle: bool
) -> dict[str, Any]:
    """Scrapy's settings of a polite crawl: one connection, one request at a time."""
    return {
        "EARSCRIBE_SITE": site,
        "USER_AGENT": user_agent,
        "ROBOTSTXT_OBEY": True,
        "DOWNLOADER_MIDDLEWARES": {
            "scrapy.downloadermiddlewares.robotstxt.RobotsTxtMiddleware": None,
            "scrapy.downloadermiddlewares.offsite.OffsiteMiddleware": None,
            "scrapy.downloadermiddlewares.redirect.MetaRefreshMiddleware": None,
            "scrapy.downloadermiddlewares.cookies.CookiesMiddleware": None,
            "crawler.settings.SiteGuard": 100,
        },
        "ITEM_PIPELINES": {"crawler.pipelines.CommitPipeline": 100},
        "DOWNLOAD_HANDLERS": dict.fromkeys(("data", "file", "ftp", "s3")),
        "EXTENSIONS_BASE": EXTENSIONS,
        "CONCURRENT_REQUESTS": 1,
        "CONCURRENT_REQUESTS_PER_DOMAIN": 1,
        "DOWNLOAD_DELAY": delay_s,
        "DOWNLOAD_DELAY_JITTER": 0,  # it would go below the delay
        "AUTOTHROTTLE_ENABLED": throttle,
        "AUTOTHROTTLE_START_DELAY": delay_s,
        "DOWNLOAD_TIMEOUT": timeout_s,
        "DOWNLOAD_MAXSIZE": MAX_PAGE_BYTES,
        "RETRY_TIMES": retries,
        "RETRY_HTTP_CODES": RETRY_STATUSES,
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
        logging.getLogger("scrapy.downloadermiddlewares.robotstxt").setLevel(logging.CRITICAL)
