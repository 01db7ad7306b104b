"""EarsenseSpider: asks for the pages that are missing, in order, and knows when to stop."""

import time
from collections.abc import AsyncIterator, Iterator, Sequence
from typing import Any, cast

from scrapy import Request, Spider
from scrapy.exceptions import CloseSpider, DownloadCancelledError, IgnoreRequest
from scrapy.http import Response, TextResponse
from twisted.python.failure import Failure

from crawler.pipelines import BLOCKED, KEPT_HEADERS, RATE_LIMITED, Desk, Fetched
from crawler.settings import MAX_PAGE_BYTES, Refused

MAX_MISSES = 3  # pages in a row without an answer, after which the site counts as unreachable


class EarsenseSpider(Spider):
    """Fetch given work and article pages of one site; no link is followed."""

    name = "earsense"

    def __init__(self, *, pages: Sequence[str], desk: Desk, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.pages = pages  # canonical addresses
        self.desk = desk
        self._misses = 0

    async def start(self) -> AsyncIterator[Request]:
        """Yield a request a page."""
        for url in self.pages:
            yield Request(
                url,
                callback=self.parse,
                errback=self.missed,
                cb_kwargs={"url": url},
            )

    def parse(self, response: Response, url: str) -> Iterator[Fetched]:
        """Hand over a response; end the run when the site refuses us."""
        self._misses = 0
        yield Fetched(
            url=url,
            started_s=time.time() - response.meta.get("download_latency", 0.0),
            status=response.status,
            headers={name: header(response, name) for name in KEPT_HEADERS},
            body=response.body,
            text=response.text if isinstance(response, TextResponse) else None,
        )
        if response.status in BLOCKED:
            self._stop(f"the site refuses us with {response.status}: ask its owner before more")
        if response.status in RATE_LIMITED:
            wait = header(response, "Retry-After") or "not said"
            self._stop(f"the site asks for a pause (429, Retry-After: {wait})")

    def missed(self, failure: Failure) -> Iterator[Fetched]:
        """Hand over the reason why a page has no response; end the run after a few in a row."""
        error = failure.value
        assert error is not None, "Scrapy gives its errbacks an error"
        error_class, message = failure_class(error)
        yield Fetched(
            url=cast(Any, failure).request.cb_kwargs["url"],
            started_s=time.time(),
            error_class=error_class,
            message=message,
        )
        self._misses = self._misses + 1 if error_class == "network" else 0
        if isinstance(error, Refused) and error_class == "network":
            self._stop(message)
        if self._misses >= MAX_MISSES:
            self._stop(f"the site cannot be reached: {message}")

    def _stop(self, reason: str) -> None:
        raise CloseSpider(reason)


def header(response: Response, name: str) -> str:
    """A header of a response, '' when it has none."""
    return (response.headers.get(name) or b"").decode("latin-1")


def failure_class(error: BaseException) -> tuple[str, str]:
    """Error class and message of a request without a response."""
    if isinstance(error, Refused):
        return error.error_class, str(error)
    if isinstance(error, IgnoreRequest):
        return "redirect", f"{error}"
    if isinstance(error, DownloadCancelledError):
        return "too_large", f"the page is larger than {MAX_PAGE_BYTES} bytes"
    return "network", f"{type(error).__name__}: {error}"
